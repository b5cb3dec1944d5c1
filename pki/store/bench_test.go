package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// BenchmarkUpdateParallel makes changes as issuing a certificate does: look at a
// token, and put a certificate and a line of the audit log. "alone" has a commit for
// each change, "group" one for those that wait together. Both stores write to the
// disk.
func BenchmarkUpdateParallel(b *testing.B) {
	server := sync.OnceValue(func() *pgtest.Server { return pgtest.Start(b, "fsync=on") })
	for _, kind := range []struct {
		name string
		open func(*testing.B) (DB, *group)
	}{
		{"bolt", func(b *testing.B) (DB, *group) {
			db, err := OpenBolt(filepath.Join(b.TempDir(), "pki.db"))
			if err != nil {
				b.Fatal(err)
			}
			return db, db.(*boltDB).group
		}},
		{"postgres", func(b *testing.B) (DB, *group) {
			db := openTest(b, PostgresConfig{URL: server().Database(b)})
			return db, db.group
		}},
	} {
		for _, callers := range []int{1, 8, 64} {
			for _, way := range []struct {
				name string
				max  int
			}{{"alone", 1}, {"group", maxGroup}} {
				b.Run(fmt.Sprintf("%s/callers=%d/%s", kind.name, callers, way.name), func(b *testing.B) {
					db, group := kind.open(b)
					defer db.Close()
					group.max = way.max
					benchmarkUpdate(b, db, callers)
				})
			}
		}
	}
}

func benchmarkUpdate(b *testing.B, db DB, callers int) {
	procs := runtime.GOMAXPROCS(0)
	if callers < procs {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(callers))
		procs = callers
	}
	b.SetParallelism(callers / procs)
	certificate, line := bytes.Repeat([]byte("c"), 900), bytes.Repeat([]byte("l"), 300)
	var number atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := fmt.Appendf(nil, "%016x", number.Add(1)*0x9e3779b97f4a7c15)
			err := db.Update(b.Context(), func(tx Tx) error {
				if used, err := tx.Get("tokens", key); err != nil || used != nil {
					return fmt.Errorf("token %s: used %v, %w", key, used != nil, err)
				}
				number := make([]byte, 8)
				last, _, err := tx.Last("audit")
				if last != nil {
					binary.BigEndian.PutUint64(number, binary.BigEndian.Uint64(last)+1)
				}
				return errors.Join(err, tx.Put("tokens", key, line), tx.Put("certs", key, certificate), tx.Put("audit", number, line))
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
}
