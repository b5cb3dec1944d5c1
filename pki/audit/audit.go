// Package audit keeps the log of what the PKI did, and of what it refused.
//
// The log is append-only. An entry is written in the transaction of what it tells:
// where it cannot be written, the thing does not happen. Each entry contains the hash
// of the one before. Over the bytes of all entries there is a hash tree (RFC 6962
// §2.1), and a signed head of the tree, the checkpoint
// (https://c2sp.org/tlog-checkpoint), is published. So the operator cannot
//
//   - change, remove or reorder an entry: chain and tree do not fit ([Log.Verify]);
//   - cut off the end, or start again from an old copy: the tree is then none that
//     contains the one of a checkpoint kept elsewhere ([Consistent]);
//   - show different logs to different people: two checkpoints of one size with
//     different roots are signed evidence of that;
//   - issue in silence: whoever is shown a certificate can ask for a [Proof] that it
//     is in the log, and check it with the log's public key alone ([Proof.Certificate]).
//
// Who follows the tree sees hashes, not entries, and each entry has a random salt, so
// that a hash cannot be guessed from what an entry may say.
//
// Requests without any evidence (an unknown token, a failed handshake) are not in
// the log, because then anybody could fill the disk.
//
// # In the store
//
//	audit_log           sequence number                  -> entry, as JSON
//	audit_tree          sequence number                  -> hashes of the tree, 32 bytes each
//	audit_identities    identity path \0 sequence number -> empty
//	audit_certificates  serial (hex) \0 sequence number  -> empty
//	audit_state         "key", "checkpoint", "whole"
//
// Sequence numbers are 8 bytes, big-endian, from 1 without gaps; the tree counts its
// leaves from 0, so entry n is leaf n-1. A row of the tree has the hashes of the
// subtrees that end with the entry, its own hash first.
//
// # Over HTTP
//
// [CheckpointPath], [TilePath] and [ConsistencyPath] are for everybody; the first two
// are as https://c2sp.org/tlog-tiles describes them, without the entries.
// [EntriesPath] gives entries to those whom they concern. A saved proof is a
// https://c2sp.org/tlog-proof whose extra data is the entry. [Client] speaks all of it.
//
// The package is not covered by the compatibility promise.
package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// ErrBroken: the log is broken, or was changed.
var ErrBroken = errors.New("the audit log does not verify")

// Bucket has the entries as JSON, by sequence number.
const Bucket store.Bucket = "audit_log"

// What an entry tells. Append-only.
const (
	EventToken     = "token"   // a token was made
	EventIssue     = "issue"   // a certificate was issued
	EventConfirm   = "confirm" // a new generation was seen in use
	EventRefuse    = "refuse"  // a request with a known token or certificate was refused
	EventClone     = "clone"   // an old generation was used after its successor
	EventBlock     = "block"
	EventUnblock   = "unblock"
	EventConflict  = "conflict"  // another box tried to enrol for a serial
	EventRetire    = "retire"    // a device has ended for good
	EventReinstate = "reinstate" // its retirement was taken back
	EventSecret    = "secret"    // a device got a new factory secret
	EventImport    = "import"    // devices were imported; the reason tells how many
	EventBundle    = "bundle"    // the trust bundle was changed
	EventRepeat    = "repeat"    // the answer to an enrolment was given once more
)

// Entry is one line of the log.
type Entry struct {
	Seq      uint64    `json:"seq"` // from 1, without gaps
	Time     time.Time `json:"time"`
	Event    string    `json:"event"`
	Method   string    `json:"method,omitempty"` // how a certificate comes about: enrol, renew, issue, …
	Actor    string    `json:"actor,omitempty"`  // who asked, as they said
	Identity string    `json:"identity"`
	// Certificate, Generation and SPKI are those of the certificate in question.
	Certificate string `json:"certificate,omitempty"`
	Generation  uint64 `json:"generation,omitempty"`
	SPKI        string `json:"spki_sha256,omitempty"`
	// Fingerprint is the SHA-256, in hex, of the whole certificate.
	Fingerprint string `json:"certificate_sha256,omitempty"`
	// Epoch is the block list's.
	Epoch  uint64 `json:"epoch,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Salt is 128 random bits in hex: the entry's hash in the tree is public, and
	// must not tell what the entry says. Entries older than the tree have none.
	Salt string `json:"salt,omitempty"`
	// Prev is the hash of the entry before; of the first, the empty string.
	Prev string `json:"prev"`
	// Hash is the SHA-256, in hex, of this entry as JSON with an empty Hash.
	Hash string `json:"hash"`
}

func (e Entry) sum() (string, error) {
	e.Hash = ""
	data, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// maxText bounds Actor and Reason, in bytes. Both come from people and peers; what is
// too long is cut, because an entry that could not be written would be one avoided.
const maxText = 1024

// clip also replaces what is not UTF-8, which JSON would not give back as it was.
func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Append adds an entry in the transaction of what it tells. Seq, Time, Salt, Prev and
// Hash are set here. It fails with [ErrBroken] where the log ends elsewhere than its
// tree, or before the last checkpoint.
func Append(tx store.Tx, e Entry) error {
	last, err := end(tx)
	if err != nil {
		return err
	}
	e.Seq, e.Prev = last.Seq+1, last.Hash
	e.Time = time.Now().UTC()
	e.Actor, e.Reason = clip(e.Actor), clip(e.Reason)
	var salt [16]byte
	rand.Read(salt[:]) // never fails
	e.Salt = hex.EncodeToString(salt[:])
	if e.Hash, err = e.sum(); err != nil {
		return err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := tx.Put(Bucket, key(e.Seq), data); err != nil {
		return err
	}
	return enter(tx, e, data)
}

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func parse(data []byte) (e Entry, err error) {
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return e, nil
}

// pageSize bounds how long one read of the store lasts.
const pageSize = 256

// Entries gives the entries after a sequence number, oldest first. It reads page by
// page, so that a slow reader does not hold the store.
func Entries(ctx context.Context, db store.DB, after uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			page, err := entries(ctx, db, after)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				after = e.Seq
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

func entries(ctx context.Context, db store.DB, after uint64) (page []Entry, err error) {
	err = db.View(ctx, func(tx store.Tx) error {
		page = nil
		return tx.Scan(Bucket, nil, key(after+1), func(_, v []byte) (bool, error) {
			e, err := parse(v)
			page = append(page, e)
			return len(page) < pageSize, err
		})
	})
	return page, err
}
