package authority

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const (
	storeFile = "pki.db"
	lockWait  = 2 * time.Second
)

// ErrInUse: another process has the store open.
var ErrInUse = errors.New("another process has the PKI's store open")

// The buckets of the store. Values are JSON; numbers in keys are big-endian, so
// that they sort.
//
//	certs    certificate serial (hex)      -> Certificate
//	index    identity path \0 issued seq   -> certificate serial
//	lineages identity path \0 lineage      -> lineage
//	tokens   SHA-256 of the token          -> tokenRecord
//	blocks   identity path                 -> Block
//	journal  seq                           -> Entry
//	meta     "epoch"                       -> epoch of the block list
var (
	bucketCerts    = []byte("certs")
	bucketIndex    = []byte("index")
	bucketLineages = []byte("lineages")
	bucketTokens   = []byte("tokens")
	bucketBlocks   = []byte("blocks")
	bucketJournal  = []byte("journal")
	bucketMeta     = []byte("meta")
	keyEpoch       = []byte("epoch")
)

func openStore(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{
			bucketCerts, bucketIndex, bucketLineages, bucketTokens, bucketBlocks, bucketJournal, bucketMeta,
		} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return db, nil
}

// Certificate is what the index knows about one issued certificate.
type Certificate struct {
	// Serial is the certificate's own number in hex.
	Serial string `json:"serial"`
	// Identity is the path, e.g. "device/0123456789".
	Identity string `json:"identity"`
	// Lineage and Generation: see the package doc.
	Lineage    string    `json:"lineage"`
	Generation uint64    `json:"generation"`
	Method     string    `json:"method"` // enrol, renew or issue
	Issued     time.Time `json:"issued"`
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	// SPKI is the SHA-256 of the public key (SubjectPublicKeyInfo) in hex.
	SPKI string `json:"spki_sha256"`
	// State is derived when listing; see the State constants.
	State string `json:"state,omitempty"`
	// DER is the certificate. Left out of lists.
	DER []byte `json:"der,omitempty"`
}

// States of a certificate, from worst to best.
const (
	StateBlocked    = "blocked"    // its identity is
	StateExpired    = "expired"    // by this machine's clock
	StateSuperseded = "superseded" // a newer generation is confirmed, or replaced it
	StatePending    = "pending"    // issued, not yet seen in use
	StateActive     = "active"
)

// lineage is a chain of renewals.
type lineage struct {
	Confirmed uint64 `json:"confirmed"` // the newest generation seen in use
	Last      uint64 `json:"last"`      // the newest issued
	Retired   bool   `json:"retired"`   // replaced by a new enrolment
}

// mayRenew tells whether a certificate of the generation may be used to renew.
func (l lineage) mayRenew(generation uint64) bool {
	return !l.Retired && (generation == l.Confirmed || generation == l.Last)
}

func get[T any](b *bbolt.Bucket, key []byte) (v T, ok bool, err error) {
	data := b.Get(key)
	if data == nil {
		return v, false, nil
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, false, fmt.Errorf("store: %w", err)
	}
	return v, true, nil
}

func put(b *bbolt.Bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// within is the prefix of everything that belongs to an identity.
func within(path string) []byte { return append([]byte(path), 0) }

// addCertificate stores the certificate with its index.
func addCertificate(tx *bbolt.Tx, c Certificate) error {
	if err := put(tx.Bucket(bucketCerts), []byte(c.Serial), c); err != nil {
		return err
	}
	index := tx.Bucket(bucketIndex)
	seq, err := index.NextSequence()
	if err != nil {
		return err
	}
	return index.Put(append(within(c.Identity), number(seq)...), []byte(c.Serial))
}

// retireLineages ends every lineage of the identity.
func retireLineages(tx *bbolt.Tx, path string) error {
	b := tx.Bucket(bucketLineages)
	var keys [][]byte
	cursor := b.Cursor()
	prefix := within(path)
	for k, _ := cursor.Seek(prefix); hasPrefix(k, prefix); k, _ = cursor.Next() {
		keys = append(keys, append([]byte(nil), k...))
	}
	for _, k := range keys {
		l, _, err := get[lineage](b, k)
		if err != nil {
			return err
		}
		l.Retired = true
		if err := put(b, k, l); err != nil {
			return err
		}
	}
	return nil
}

func hasPrefix(k, prefix []byte) bool {
	return len(k) >= len(prefix) && string(k[:len(prefix)]) == string(prefix)
}

// oneLineage tells whether a new certificate of the kind ends the older ones. A
// service runs in several instances, each with a certificate of its own.
func oneLineage(k identity.Kind) bool { return k != identity.KindService }
