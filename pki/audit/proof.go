package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Errors of proofs. Compare with errors.Is.
var (
	// ErrNotLogged: the log has no entry for it.
	ErrNotLogged = errors.New("not in the audit log")
	// ErrProof: a proof is malformed, or proves nothing.
	ErrProof = errors.New("the proof does not hold")
)

// Query says which entries are wanted. The zero value means all.
type Query struct {
	// Identity is a path, e.g. device/0123456789.
	Identity string
	// Certificate is the serial number, in hex, of a certificate that was issued.
	Certificate string
	// After is a sequence number.
	After uint64
	// Limit is how many entries at most; 0 leaves it to the log, which also
	// bounds it.
	Limit int
}

// Logged is an entry with the proof that it is in a tree.
type Logged struct {
	// Entry is an [Entry] as it is stored: its leaf is the hash of these bytes.
	Entry json.RawMessage `json:"entry"`
	// Index of the leaf, from 0.
	Index int64 `json:"index"`
	// Proof is the audit path of RFC 6962 §2.1.1, from the leaf's sibling up.
	Proof tlog.RecordProof `json:"proof"`
}

// Page is an answer to a [Query], oldest entry first.
type Page struct {
	// Checkpoint is the signed one that the proofs are for. Entries that are not in
	// its tree yet are not in the answer.
	Checkpoint string   `json:"checkpoint"`
	Entries    []Logged `json:"entries"`
	// More tells that entries were left out: ask again after the last one.
	More bool `json:"more,omitempty"`
}

// Find answers a query by the last checkpoint.
func (l *Log) Find(ctx context.Context, q Query) (p Page, err error) {
	err = l.db.View(ctx, func(tx store.Tx) error {
		last, found, err := l.stored(tx)
		p = Page{Checkpoint: last.Note, Entries: []Logged{}}
		if err != nil || !found {
			return err
		}
		return scan(tx, q, func(seq uint64) (bool, error) {
			if seq > uint64(last.Size) {
				return false, nil
			}
			if q.Limit > 0 && len(p.Entries) == q.Limit {
				p.More = true
				return false, nil
			}
			one, err := logged(tx, seq, last.Size)
			if err != nil {
				return false, err
			}
			if q.Certificate != "" && q.Identity != "" {
				e, err := parse(one.Entry)
				if err != nil || e.Identity != q.Identity {
					return true, err
				}
			}
			p.Entries = append(p.Entries, one)
			return true, nil
		})
	})
	return p, err
}

// scan calls f with the sequence numbers that the query means, rising.
func scan(tx store.Tx, q Query, f func(seq uint64) (more bool, err error)) error {
	bucket, of := bucketIdentities, q.Identity
	switch {
	case q.Certificate != "":
		bucket, of = bucketCertificates, q.Certificate
	case q.Identity == "":
		return tx.Scan(Bucket, nil, key(q.After+1), func(k, _ []byte) (bool, error) { return f(seqOf(k)) })
	}
	prefix := append([]byte(of), 0)
	return tx.Scan(bucket, prefix, indexKey(of, q.After+1), func(k, _ []byte) (bool, error) {
		return f(seqOf(k[len(prefix):]))
	})
}

func logged(tx store.Tx, seq uint64, size int64) (l Logged, err error) {
	data, err := tx.Get(Bucket, key(seq))
	if err != nil {
		return l, err
	}
	if data == nil {
		return l, fmt.Errorf("%w: entry %d is missing", ErrBroken, seq)
	}
	path, err := tlog.ProveRecord(size, int64(seq)-1, hashes{tx})
	return Logged{Entry: data, Index: int64(seq) - 1, Proof: path}, err
}

// Verify checks the page against the log's key and gives its checkpoint and entries.
// Errors wrap [ErrCheckpoint] or [ErrProof].
func (p Page) Verify(k Key) (Checkpoint, []Entry, error) {
	head, err := k.Checkpoint([]byte(p.Checkpoint))
	if err != nil {
		return head, nil, err
	}
	entries := make([]Entry, 0, len(p.Entries))
	for i := range p.Entries {
		e, err := p.Entries[i].verify(head)
		if err != nil {
			return head, nil, err
		}
		entries = append(entries, e)
	}
	return head, entries, nil
}

// Proof gives the proof of one entry of the page, to be kept.
func (p Page) Proof(i int) Proof { return Proof{Logged: p.Entries[i], Checkpoint: p.Checkpoint} }

func (l Logged) verify(head Checkpoint) (Entry, error) {
	if err := tlog.CheckRecord(l.Proof, head.Size, head.Root, l.Index, tlog.RecordHash(l.Entry)); err != nil {
		return Entry{}, fmt.Errorf("%w: entry %d in a tree of %d: %w", ErrProof, l.Index+1, head.Size, err)
	}
	var e Entry
	if err := json.Unmarshal(l.Entry, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: the entry: %w", ErrProof, err)
	}
	return e, nil
}

// Proof shows that an entry is in the log, to whoever has the log's public key and
// nothing else.
type Proof struct {
	Logged
	// Checkpoint is signed.
	Checkpoint string `json:"checkpoint"`
}

// MaxProof bounds a saved proof, in bytes.
const MaxProof = 128 << 10

// Marshal gives the proof as an https://c2sp.org/tlog-proof with the entry as extra
// data, for a file named .tlog-proof.
func (p Proof) Marshal() []byte {
	path := make([][sha256.Size]byte, len(p.Proof))
	for i, h := range p.Proof {
		path[i] = h
	}
	return proof.TLogProof{Index: uint64(p.Index), Hashes: path, Checkpoint: []byte(p.Checkpoint), ExtraData: p.Entry}.Marshal()
}

// ParseProof reads what [Proof.Marshal] writes. It verifies nothing. Errors wrap
// [ErrProof].
func ParseProof(text []byte) (Proof, error) {
	if len(text) > MaxProof {
		return Proof{}, fmt.Errorf("%w: larger than %d bytes", ErrProof, MaxProof)
	}
	var p proof.TLogProof
	if err := p.Unmarshal(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))); err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if p.Index >= maxSize {
		return Proof{}, fmt.Errorf("%w: index %d", ErrProof, p.Index)
	}
	path := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		path[i] = h
	}
	return Proof{Logged{Entry: p.ExtraData, Index: int64(p.Index), Proof: path}, string(p.Checkpoint)}, nil
}

// Verify checks the proof against the log's key, and gives the checkpoint and the
// entry. Errors wrap [ErrCheckpoint] or [ErrProof].
func (p Proof) Verify(k Key) (Checkpoint, Entry, error) {
	head, err := k.Checkpoint([]byte(p.Checkpoint))
	if err != nil {
		return head, Entry{}, err
	}
	e, err := p.verify(head)
	return head, e, err
}

// Certificate checks that the proof is for the issue of this certificate. Errors wrap
// [ErrCheckpoint], [ErrProof] or [ErrNotLogged].
func (p Proof) Certificate(k Key, c *x509.Certificate) (Checkpoint, Entry, error) {
	head, e, err := p.Verify(k)
	if err == nil {
		err = e.Issued(c)
	}
	return head, e, err
}

// Issued checks that the entry tells of the issue of this certificate: serial number,
// public key and identity are the same, and the fingerprint where the entry has one. An
// error wraps [ErrNotLogged].
func (e Entry) Issued(c *x509.Certificate) error {
	path := e.Identity // of a certificate that names nobody of ours, such as one for a DNS name
	if len(c.URIs) > 0 {
		id, err := identity.FromCert(c)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotLogged, err)
		}
		path = id.Path()
	}
	for _, field := range []struct{ name, have, want string }{
		{"event", e.Event, EventIssue},
		{"serial number", e.Certificate, CertificateSerial(c)},
		{"identity", e.Identity, path},
		{"public key", e.SPKI, sum(c.RawSubjectPublicKeyInfo)},
		{"fingerprint", e.Fingerprint, sum(c.Raw)},
	} {
		if field.have != field.want && (field.name != "fingerprint" || field.have != "") {
			return fmt.Errorf("%w: entry %d has the %s %q, the certificate %q", ErrNotLogged, e.Seq, field.name, field.have, field.want)
		}
	}
	return nil
}

// CertificateSerial is a certificate's serial number as entries have it.
func CertificateSerial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

func sum(der []byte) string {
	s := sha256.Sum256(der)
	return hex.EncodeToString(s[:])
}
