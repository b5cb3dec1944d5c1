package ca

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// The tables of step-ca's store (certificates/db) that an enrolment with a one-time
// token and a revocation write to. Keys are serial numbers in decimal, and of used
// tokens their id.
var (
	stepCerts   = []byte("x509_certs")
	stepData    = []byte("x509_certs_data")
	stepTokens  = []byte("used_ott")
	stepRevoked = []byte("revoked_x509_certs")
)

// fill has one certificate issued and revoked, and copies what that left in the store.
// Certificates of copies have the number of the first inside, which step-ca does not
// look at.
func (s *step) fill(ctx context.Context, certificates, revoked int, count *atomic.Int64) (float64, error) {
	serial, err := s.sample(ctx)
	if err != nil {
		return 0, err
	}
	db, err := bbolt.Open(s.file(), 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return 0, err
	}
	var o entries
	err = db.View(func(tx *bbolt.Tx) (err error) {
		o, err = original(tx, serial)
		return err
	})
	const batch = 10_000
	for done := 0; done < certificates && err == nil; done += batch {
		n := min(batch, certificates-done)
		err = errors.Join(ctx.Err(), db.Update(func(tx *bbolt.Tx) error {
			for i := range n {
				if err := o.copy(tx, done+i < revoked); err != nil {
					return err
				}
			}
			return nil
		}))
		count.Add(int64(n))
	}
	return 0, errors.Join(err, db.Sync(), db.Close())
}

// sample issues and revokes one, and gives its serial number.
func (s *step) sample(ctx context.Context) (serial string, err error) {
	devices, err := makeDevices(1)
	if err != nil {
		return "", err
	}
	srv, err := start(ctx, s)
	if err != nil {
		return "", err
	}
	defer srv.process.Stop()
	leaf, err := srv.certificate(ctx, devices[0])
	if err != nil {
		return "", err
	}
	return leaf.SerialNumber.String(), s.revoke(ctx, srv, leaf)
}

// entries are the values of one certificate.
type entries struct {
	cert, data, token []byte
	revoked           map[string]any
}

func original(tx *bbolt.Tx, serial string) (o entries, err error) {
	get := func(table []byte) []byte {
		b := tx.Bucket(table)
		if b == nil {
			return nil
		}
		return append([]byte(nil), b.Get([]byte(serial))...)
	}
	o.cert, o.data = get(stepCerts), get(stepData)
	if b := tx.Bucket(stepTokens); b != nil {
		// The token of the certificate is longer than that of its revocation.
		err = b.ForEach(func(_, v []byte) error {
			if len(v) > len(o.token) {
				o.token = append([]byte(nil), v...)
			}
			return nil
		})
	}
	if err != nil || len(o.cert) == 0 || len(o.data) == 0 || len(o.token) == 0 {
		return o, errors.Join(err, fmt.Errorf("the store has not all of certificate %s: another version of step-ca?", serial))
	}
	return o, json.Unmarshal(get(stepRevoked), &o.revoked)
}

// copy puts the entries under another serial number.
func (o entries) copy(tx *bbolt.Tx, revoked bool) error {
	const bits = 128
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	if err != nil {
		return err
	}
	serial := n.String()
	put := func(table []byte, key string, value []byte) {
		err = errors.Join(err, tx.Bucket(table).Put([]byte(key), value))
	}
	put(stepCerts, serial, o.cert)
	put(stepData, serial, o.data)
	put(stepTokens, rand.Text(), o.token)
	if revoked {
		o.revoked["Serial"] = serial
		text, jsonErr := json.Marshal(o.revoked)
		err = errors.Join(err, jsonErr)
		put(stepRevoked, serial, text)
	}
	return err
}
