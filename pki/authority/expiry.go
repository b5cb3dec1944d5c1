package authority

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// bucketExpiry has every certificate by the time when it expires:
//
//	seconds (8 bytes) certificate serial (hex) -> expiry
const bucketExpiry store.Bucket = "expiry"

// expiryTime is how many bytes of a key are the time.
const expiryTime = 8

// expiry is what the forecast needs of a certificate.
type expiry struct {
	Identity   string `json:"identity"`
	Lineage    string `json:"lineage"`
	Generation uint64 `json:"generation"`
}

func expiryKey(notAfter time.Time, serial string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(max(0, notAfter.Unix()))), serial...)
}

// expiryOf reads the time of a key.
func expiryOf(key []byte) (time.Time, error) {
	if len(key) < expiryTime {
		return time.Time{}, fmt.Errorf("store: expiry key of %d bytes", len(key))
	}
	return time.Unix(int64(binary.BigEndian.Uint64(key)), 0), nil
}

func addExpiry(tx store.Tx, c Certificate) error {
	return put(tx, bucketExpiry, expiryKey(c.NotAfter, c.Serial), expiry{c.Identity, c.Lineage, c.Generation})
}

// indexExpiry adds the certificates of a store that had no such index yet.
func indexExpiry(tx store.Tx) error {
	key := []byte("expiry")
	if done, err := tx.Get(bucketMeta, key); err != nil || done != nil {
		return err
	}
	if err := tx.Scan(bucketCerts, nil, nil, func(_, v []byte) (bool, error) {
		c, err := parse[Certificate](v)
		if err != nil {
			return false, err
		}
		return true, addExpiry(tx, c)
	}); err != nil {
		return err
	}
	return tx.Put(bucketMeta, key, []byte("indexed"))
}

// Forecast tells when certificates expire.
type Forecast struct {
	// Authorities are the roots and the intermediates, soonest first.
	Authorities []AuthorityExpiry `json:"authorities"`
	// Periods follow one another without gaps.
	Periods []Period `json:"periods"`
}

// AuthorityExpiry is a certificate that others hang on.
type AuthorityExpiry struct {
	Name        string    `json:"name"` // subject CN
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"` // SHA-256, hex
}

// Period is a span of time from Begin for as long as was asked.
type Period struct {
	Begin time.Time `json:"begin"`
	// Kinds has the numbers by kind, e.g. "device".
	Kinds map[string]Expiring `json:"kinds"`
}

// Expiring are numbers of certificates that expire in a [Period].
type Expiring struct {
	// Open are those without a successor: unless they are renewed, their endpoint
	// is cut off then.
	Open int `json:"open"`
	// Replaced have a successor, or ended with a new enrolment.
	Replaced int `json:"replaced"`
}

// MostPeriods bounds a forecast.
const MostPeriods = 400

// Forecast counts the certificates that expire in each of n periods of the given
// length, the first of which begins at from.
func (a *Authority) Forecast(ctx context.Context, from time.Time, length time.Duration, n int) (Forecast, error) {
	if length < time.Minute || n < 1 || n > MostPeriods {
		return Forecast{}, fmt.Errorf("%w: want periods of a minute or more, from 1 to %d of them", enrol.ErrBadRequest, MostPeriods)
	}
	f := Forecast{Authorities: a.authorities()}
	for p := range n {
		f.Periods = append(f.Periods, Period{from.Add(time.Duration(p) * length).UTC(), make(map[string]Expiring)})
	}
	end := from.Add(time.Duration(n) * length)
	// Page by page, so that it does not hold the store.
	const page = 4096
	for at := expiryKey(from, ""); at != nil; {
		err := a.db.View(ctx, func(tx store.Tx) error {
			seen, start := 0, at
			at = nil
			return tx.Scan(bucketExpiry, nil, start, func(k, v []byte) (bool, error) {
				if seen == page {
					at = k
					return false, nil
				}
				seen++
				when, err := expiryOf(k)
				if err != nil || !when.Before(end) {
					return false, err
				}
				return true, f.Periods[int(when.Sub(from)/length)].add(tx, v)
			})
		})
		if err != nil {
			return Forecast{}, err
		}
	}
	return f, nil
}

func (p Period) add(tx store.Tx, value []byte) error {
	e, err := parse[expiry](value)
	if err != nil {
		return err
	}
	l, _, err := get[lineage](tx, bucketLineages, lineageKey(e.Identity, e.Lineage))
	if err != nil {
		return err
	}
	kind, _, _ := strings.Cut(e.Identity, "/")
	n := p.Kinds[kind]
	if l.Retired || l.Last > e.Generation {
		n.Replaced++
	} else {
		n.Open++
	}
	p.Kinds[kind] = n
	return nil
}

func (a *Authority) authorities() (out []AuthorityExpiry) {
	all := slices.Clone(a.Roots())
	for _, i := range a.Issuers() {
		all = append(all, i.Certificate)
	}
	for _, c := range all {
		out = append(out, AuthorityExpiry{c.Subject.CommonName, c.NotAfter, enrol.Fingerprint(c)})
	}
	slices.SortFunc(out, func(x, y AuthorityExpiry) int {
		if c := x.NotAfter.Compare(y.NotAfter); c != 0 {
			return c
		}
		return strings.Compare(x.Name, y.Name)
	})
	return out
}

// RootExpiry tells until when the root is valid that expires first.
func (a *Authority) RootExpiry() time.Time {
	return slices.MinFunc(a.Roots(), func(x, y *x509.Certificate) int { return x.NotAfter.Compare(y.NotAfter) }).NotAfter
}
