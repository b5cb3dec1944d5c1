// Package blocks carries the revocation list from the PKI to every relay and
// service while they run.
//
// A block is by identity (mostly a device's serial), not by certificate: it ends
// all present and future certificates of the endpoint. The PKI keeps the list
// with an epoch that only rises, and publishes it as a live feed: one snapshot,
// then a line per change, and a heartbeat every five seconds ([Publisher]). A
// subscriber ([Client]) applies a change within milliseconds, keeps the last
// list on disk, and starts with that one when the PKI is away.
//
// # Feed
//
// GET /v1/blocks/stream?since=<epoch> over mutual TLS answers with one JSON
// object per line (see [Event]):
//
//	{"type":"snapshot","epoch":7,"block":["device/0123456789"],"digest":"…"}
//	{"type":"delta","epoch":8,"block":["device/9999999999"],"digest":"…"}
//	{"type":"delta","epoch":9,"unblock":["device/0123456789"],"digest":"…"}
//	{"type":"heartbeat","epoch":9,"digest":"…"}
//
// With a since that the publisher remembers, the feed starts with the deltas
// after it instead of a snapshot. The digest is that of the whole list after the
// line ([List.Digest]); a subscriber whose own differs asks for a snapshot. An
// epoch below the subscriber's means that the PKI's store was rolled back: the
// subscriber keeps its list and raises [ErrRollback]. Unknown types and fields
// are ignored.
//
// The package links the standard library, hclog and the packages identity and
// enrol only. It is not covered by the compatibility promise; the feed is.
package blocks

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// List is the set of blocked identities at one epoch. It is immutable; the zero
// value blocks nobody. Copies share their contents.
type List struct {
	epoch  uint64
	paths  map[string]struct{}
	digest string
}

// NewList makes a list of identity paths, e.g. "device/0123456789".
func NewList(epoch uint64, paths ...string) List {
	set := make(map[string]struct{}, len(paths))
	for _, p := range paths {
		set[p] = struct{}{}
	}
	return List{epoch: epoch, paths: set, digest: digest(set)}
}

// Epoch numbers the list's version. It never falls.
func (l List) Epoch() uint64 { return l.epoch }

// Len is the number of blocked identities.
func (l List) Len() int { return len(l.paths) }

// Blocked reports whether the identity is blocked. The trust domain does not
// matter: a subscriber has verified that already.
func (l List) Blocked(id identity.ID) bool {
	_, ok := l.paths[id.Path()]
	return ok
}

// Paths lists the blocked identities in order.
func (l List) Paths() []string { return slices.Sorted(maps.Keys(l.paths)) }

// Digest is the SHA-256, in hex, of the sorted paths, each followed by a line
// feed. Equal lists have equal digests whatever their epochs.
func (l List) Digest() string {
	if l.paths == nil {
		return digest(nil)
	}
	return l.digest
}

func digest(set map[string]struct{}) string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(set)) {
		b.WriteString(p)
		b.WriteByte('\n')
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// with gives the list after a change.
func (l List) with(epoch uint64, block, unblock []string) List {
	set := maps.Clone(l.paths)
	if set == nil {
		set = make(map[string]struct{})
	}
	for _, p := range unblock {
		delete(set, p)
	}
	for _, p := range block {
		set[p] = struct{}{}
	}
	return List{epoch: epoch, paths: set, digest: digest(set)}
}

// without lists, in order, what l has and other has not.
func (l List) without(other List) (paths []string) {
	for p := range l.paths {
		if _, ok := other.paths[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}
