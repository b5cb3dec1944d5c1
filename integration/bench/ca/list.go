package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

// list measures how one more revocation comes into the list of the devices.
func (r *runner) list(ctx context.Context, round int, s *site, srv *instance, leaf *x509.Certificate) error {
	figures, err := srv.list(ctx, leaf)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.add(round, s.name, r.crlWork(), figures, 0, err)
	return nil
}

func (s *instance) list(ctx context.Context, leaf *x509.Certificate) (map[score.Metric]float64, error) {
	before, _, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	u, err := s.process.Usage()
	if err != nil {
		return nil, err
	}
	peak := s.peak(ctx)
	began := time.Now()
	err = s.contestant.revoke(ctx, s, leaf)
	took := time.Since(began)
	most := peak()
	if err != nil {
		return nil, err
	}
	after, size, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if a, b := len(after.RevokedCertificateEntries), len(before.RevokedCertificateEntries); a <= b {
		return nil, fmt.Errorf("the list has %d entries after the revocation, and had %d before", a, b)
	}
	const kib = 1 << 10
	return map[score.Metric]float64{
		score.CRLTime: ms(took), score.CRLSize: float64(size) / kib, score.CRLPeak: (float64(most) - float64(u.Anon)) / mib,
	}, nil
}

// listPatience is how long the first list may take after a start.
const listPatience = 30 * time.Second

// fetch gets the list. One that has not been made yet is waited for.
func (s *instance) fetch(ctx context.Context) (list *x509.RevocationList, size int, err error) {
	c := s.client()
	defer c.CloseIdleConnections()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(listPatience); ; {
		der, err := s.do(ctx, c, http.MethodGet, s.contestant.crl(), nil)
		if err == nil {
			list, err = x509.ParseRevocationList(der)
			return list, len(der), err
		}
		var status statusError
		if !errors.As(err, &status) || status.status != http.StatusNotFound || time.Now().After(end) {
			return nil, 0, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// peak watches the server's own memory until the function that it gives is called, which
// gives the highest that was seen, in bytes.
func (s *instance) peak(ctx context.Context) (stop func() uint64) {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan uint64, 1)
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		var seen uint64
		for {
			if u, err := s.process.Usage(); err == nil && u.Anon > seen {
				seen = u.Anon
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				most <- seen
				return
			}
		}
	}()
	return func() uint64 {
		cancel()
		return <-most
	}
}
