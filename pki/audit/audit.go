// Package audit keeps the log of what the PKI did, and of what it refused.
//
// The log is append-only. Each entry contains the hash of the one before, so that a
// line that was changed or removed shows ([Verify]). An entry is written in the
// transaction of what it tells: where it cannot be written, the thing does not
// happen.
//
// Requests without any evidence (an unknown token, a failed handshake) are not in
// the log, because then anybody could fill the disk.
//
// The package is not covered by the compatibility promise.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// ErrBroken: the log is broken, or was changed.
var ErrBroken = errors.New("the audit log does not verify")

// Bucket has the entries as JSON, by sequence number (8 bytes, big-endian).
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
	// Epoch is the block list's.
	Epoch  uint64 `json:"epoch,omitempty"`
	Reason string `json:"reason,omitempty"`
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

// Append adds an entry in the transaction of what it tells. Seq, Time, Prev and
// Hash are set here.
func Append(tx store.Tx, e Entry) error {
	_, last, err := tx.Last(Bucket)
	if err != nil {
		return err
	}
	if last != nil {
		before, err := parse(last)
		if err != nil {
			return err
		}
		e.Seq, e.Prev = before.Seq, before.Hash
	}
	e.Seq++
	e.Time = time.Now().UTC()
	if e.Hash, err = e.sum(); err != nil {
		return err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return tx.Put(Bucket, key(e.Seq), data)
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

// Verify checks every entry and the chain between them, and gives their number and
// the last hash. A log whose end was cut off verifies too: compare the last hash
// with one kept elsewhere.
func Verify(ctx context.Context, db store.DB) (n uint64, head string, err error) {
	for e, err := range Entries(ctx, db, 0) {
		if err != nil {
			return n, head, err
		}
		hash, err := e.sum()
		if err != nil {
			return n, head, err
		}
		if e.Seq != n+1 || e.Prev != head || e.Hash != hash {
			return n, head, fmt.Errorf("%w: at entry %d", ErrBroken, n+1)
		}
		n, head = e.Seq, e.Hash
	}
	return n, head, nil
}
