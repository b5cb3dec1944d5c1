package authority

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/bbolt"
)

// ErrJournal: the journal is broken, or was changed.
var ErrJournal = errors.New("the journal does not verify")

// What a journal entry tells. Append-only.
const (
	EventToken   = "token"   // a token was made
	EventIssue   = "issue"   // a certificate was issued
	EventConfirm = "confirm" // a new generation was seen in use
	EventRefuse  = "refuse"  // a request with a known token or certificate was refused
	EventClone   = "clone"   // an old generation was used after its successor
	EventBlock   = "block"
	EventUnblock = "unblock"
)

// Entry is one line of the journal: what the PKI did, and what it refused. Each
// entry contains the hash of the one before, so that a changed or missing line
// shows; see [Authority.VerifyJournal].
//
// Requests without any evidence (an unknown token, a failed handshake) are not
// in the journal, because then anybody could fill the disk.
type Entry struct {
	Seq      uint64    `json:"seq"` // from 1, without gaps
	Time     time.Time `json:"time"`
	Event    string    `json:"event"`
	Method   string    `json:"method,omitempty"` // enrol, renew, issue
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

// journal appends an entry in the transaction of what it tells.
func journal(tx *bbolt.Tx, e Entry) error {
	b := tx.Bucket(bucketJournal)
	if b == nil {
		return fmt.Errorf("%w: it is missing", ErrJournal)
	}
	if _, last := b.Cursor().Last(); last != nil {
		var before Entry
		if err := json.Unmarshal(last, &before); err != nil {
			return fmt.Errorf("%w: %w", ErrJournal, err)
		}
		e.Seq, e.Prev = before.Seq, before.Hash
	}
	e.Seq++
	e.Time = time.Now().UTC()
	hash, err := e.sum()
	if err != nil {
		return err
	}
	e.Hash = hash
	return put(b, number(e.Seq), e)
}

// pageSize bounds how long one read of the store lasts.
const pageSize = 256

// Journal gives the entries after a sequence number, oldest first. It reads page
// by page, so that a slow reader does not hold the store.
func (a *Authority) Journal(ctx context.Context, after uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			page, err := a.journalPage(after)
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

func (a *Authority) journalPage(after uint64) (page []Entry, err error) {
	err = a.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketJournal)
		if b == nil {
			return fmt.Errorf("%w: it is missing", ErrJournal)
		}
		cursor := b.Cursor()
		for k, v := cursor.Seek(number(after + 1)); k != nil && len(page) < pageSize; k, v = cursor.Next() {
			var e Entry
			if err := json.Unmarshal(v, &e); err != nil {
				return fmt.Errorf("%w: %w", ErrJournal, err)
			}
			page = append(page, e)
		}
		return nil
	})
	return page, err
}

// VerifyJournal checks every entry and the chain between them, and gives their
// number and the last hash. A journal whose end was cut off verifies too: compare
// the last hash with one kept elsewhere.
func (a *Authority) VerifyJournal(ctx context.Context) (entries uint64, head string, err error) {
	for e, err := range a.Journal(ctx, 0) {
		if err != nil {
			return entries, head, err
		}
		hash, err := e.sum()
		if err != nil {
			return entries, head, err
		}
		if e.Seq != entries+1 || e.Prev != head || e.Hash != hash {
			return entries, head, fmt.Errorf("%w: at entry %d", ErrJournal, entries+1)
		}
		entries, head = e.Seq, e.Hash
	}
	return entries, head, nil
}
