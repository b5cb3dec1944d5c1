package authority

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// storeFile is the store's file in the state directory.
const storeFile = "pki.db"

// The buckets of the store. Values are JSON; numbers in keys are big-endian, so
// that they sort.
//
//	certs    certificate serial (hex)                  -> Certificate
//	index    identity path \0 ms of issue \0 serial    -> certificate serial
//	lineages identity path \0 lineage                  -> lineage
//	tokens   SHA-256 of the token                      -> tokenRecord
//	blocks   identity path                             -> Block
//	devices  serial                                    -> Device
//	meta     "epoch"                                   -> epoch of the block list
//	meta     "listed"                                  -> since when there is a list of devices
//	trust    "bundle"                                  -> enrol.Bundle
//	trust    "root" \0 fingerprint                     -> rootRecord
//	reports  identity path \0 lineage                  -> report
//
// The audit log is in a bucket of package audit.
const (
	bucketCerts    store.Bucket = "certs"
	bucketIndex    store.Bucket = "index"
	bucketLineages store.Bucket = "lineages"
	bucketTokens   store.Bucket = "tokens"
	bucketBlocks   store.Bucket = "blocks"
	bucketDevices  store.Bucket = "devices"
	bucketMeta     store.Bucket = "meta"
	bucketTrust    store.Bucket = "trust"
	bucketReports  store.Bucket = "reports"
)

// Keys in the bucket meta.
var (
	keyEpoch  = []byte("epoch")
	keyListed = []byte("listed") // since when there is a list of devices
)

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
	// Issuer is the key identifier of the intermediate, in hex.
	Issuer string `json:"issuer"`
	// State is derived when listing; see the State constants.
	State string `json:"state,omitempty"`
	// DER is the certificate. Left out of lists.
	DER []byte `json:"der,omitempty"`
}

// States of a certificate, from worst to best.
const (
	StateBlocked    = "blocked"    // its identity is; or retired
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

func get[T any](tx store.Tx, b store.Bucket, key []byte) (v T, ok bool, err error) {
	data, err := tx.Get(b, key)
	if err != nil || data == nil {
		return v, false, err
	}
	v, err = parse[T](data)
	return v, err == nil, err
}

func parse[T any](data []byte) (v T, err error) {
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("store: %w", err)
	}
	return v, nil
}

func put(tx store.Tx, b store.Bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(b, key, data)
}

// within is the prefix of everything that belongs to an identity.
func within(path string) []byte { return append([]byte(path), 0) }

// addCertificate stores the certificate with its index.
func addCertificate(tx store.Tx, c Certificate) error {
	if err := put(tx, bucketCerts, []byte(c.Serial), c); err != nil {
		return err
	}
	return tx.Put(bucketIndex, indexKey(c), []byte(c.Serial))
}

func indexKey(c Certificate) []byte {
	k := binary.BigEndian.AppendUint64(within(c.Identity), uint64(max(0, c.Issued.UnixMilli())))
	return append(append(k, 0), c.Serial...)
}

// retireLineages ends every lineage of the identity.
func retireLineages(tx store.Tx, path string) error {
	return tx.Scan(bucketLineages, within(path), nil, func(k, v []byte) (bool, error) {
		l, err := parse[lineage](v)
		if err != nil || l.Retired {
			return true, err
		}
		l.Retired = true
		return true, put(tx, bucketLineages, k, l)
	})
}

// oneLineage tells whether a new certificate of the kind ends the older ones. A
// service runs in several instances, each with a certificate of its own.
func oneLineage(k identity.Kind) bool { return k != identity.KindService }
