package audit

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

var benchSize = flag.Int("size", 10_000, "entries in the log before BenchmarkAppend and BenchmarkProof measure")

// batch is how many entries share a transaction, as those that wait at the same time do.
const batch = 100

// BenchmarkAppend adds entries to a log that has -size of them. stored-B/entry is the
// growth of the store's file over the -size entries: the entry itself, its part of the
// tree and its place in the indexes.
func BenchmarkAppend(b *testing.B) {
	path := filepath.Join(b.TempDir(), "pki.db")
	db, err := store.OpenBolt(path)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	empty := fileSize(b, path)
	fill(b, db, *benchSize)
	perEntry := float64(fileSize(b, path)-empty) / float64(*benchSize)
	b.ReportAllocs()
	n := *benchSize
	for b.Loop() {
		update(b, db, func(tx store.Tx) error {
			for range batch {
				n++
				if err := Append(tx, benchEntry(n)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/entry")
	b.ReportMetric(perEntry, "stored-B/entry")
}

// BenchmarkProof answers a query for one certificate in a log of -size entries.
func BenchmarkProof(b *testing.B) {
	db := open(b)
	l, err := Open(b.Context(), db, origin, newKey(b))
	if err != nil {
		b.Fatal(err)
	}
	fill(b, db, *benchSize)
	signed(b, l)
	want := benchEntry(*benchSize / 3).Certificate
	for b.Loop() {
		if p, err := l.Find(b.Context(), Query{Certificate: want}); err != nil || len(p.Entries) != 1 {
			b.Fatal(len(p.Entries), err)
		}
	}
}

// BenchmarkVerify reads a whole log of -size entries.
func BenchmarkVerify(b *testing.B) {
	db := open(b)
	l, err := Open(b.Context(), db, origin, newKey(b))
	if err != nil {
		b.Fatal(err)
	}
	fill(b, db, *benchSize)
	for b.Loop() {
		verifies(b, l, uint64(*benchSize))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(*benchSize), "ns/entry")
}

func fileSize(b *testing.B, path string) int64 {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// benchEntry is as long as one of an enrolment.
func benchEntry(i int) Entry {
	e := entryOf(i)
	e.Method, e.Actor, e.Generation = "enrol", "administrator", 1
	e.Certificate, e.SPKI, e.Fingerprint = sum([]byte(e.Certificate))[:32], sum([]byte(e.SPKI)), sum([]byte(e.Identity))
	return e
}

// fill makes the rows that Append would make, many in a transaction.
func fill(b *testing.B, db store.DB, size int) {
	b.Helper()
	const most = 50_000
	var tree edge
	var prev Entry
	for from := 0; from < size; from += most {
		var t edge
		var last Entry
		update(b, db, func(tx store.Tx) error {
			t, last = tree, prev
			for i := from; i < min(size, from+most); i++ {
				e := benchEntry(i + 1)
				e.Time, e.Salt = time.Now().UTC(), e.Certificate
				data := forge(b, e, last)
				last.Seq, last.Hash = last.Seq+1, string(data[len(data)-66:len(data)-2]) // "hash" is the last field
				hashes, err := t.add(last.Seq, data)
				err = errors.Join(err,
					tx.Put(Bucket, key(last.Seq), data), tx.Put(bucketTree, key(last.Seq), hashes),
					tx.Put(bucketIdentities, indexKey(e.Identity, last.Seq), nil),
					tx.Put(bucketCertificates, indexKey(e.Certificate, last.Seq), nil))
				if err != nil {
					return err
				}
			}
			return nil
		})
		tree, prev = t, last
	}
}
