package servercert

import (
	"context"
	"crypto/tls"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sync/singleflight"
)

const (
	// orderTimeout bounds one order for a name on demand.
	orderTimeout = time.Minute
	// orders is how many names on demand are ordered at once.
	orders = 8
	// forgetEvery is how often certificates are deleted that nobody may ask for any more.
	forgetEvery = 10 * time.Minute
)

// demand has certificates for names that come and go.
type demand struct {
	group  singleflight.Group
	places chan struct{} // one for each order
}

// get gives the certificate for a name that is not configured, where the program has it:
// the handshake waits for the CA.
func (s *acmeSource) get(ctx context.Context, name string) (*tls.Certificate, error) {
	m := s.magic.Load()
	if s.cfg.Ask == nil || m == nil || !s.cfg.Ask(name) {
		return nil, noCertificate(name)
	}
	done := s.demand.group.DoChan(name, func() (any, error) { return nil, s.order(m, name) })
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrNoCertificate, name, r.Err)
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %q: %w", ErrNoCertificate, name, ctx.Err())
	}
	if cert := s.current(name); cert != nil {
		return cert, nil
	}
	return nil, noCertificate(name)
}

// order gets a certificate, or takes the one that is stored.
func (s *acmeSource) order(m *magic, name string) error {
	ctx, cancel := context.WithTimeout(m.ctx, orderTimeout)
	defer cancel()
	select {
	case s.demand.places <- struct{}{}:
		defer func() { <-s.demand.places }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := m.cfg.ObtainCertSync(ctx, name); err != nil {
		return err
	}
	_, err := m.cfg.CacheManagedCertificate(ctx, name)
	return err
}

// forget deletes now and then what is stored for names that nobody may ask for any more.
func (s *acmeSource) forget(ctx context.Context, m *magic) {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		s.forgetOnce(ctx, m)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *acmeSource) forgetOnce(ctx context.Context, m *magic) {
	key := m.cfg.Issuers[0].IssuerKey()
	sites, err := s.storage.List(ctx, certmagic.StorageKeys.CertsPrefix(key), false)
	if err != nil {
		return // nothing is stored yet
	}
	for _, site := range sites {
		name := path.Base(site)
		if slices.ContainsFunc(s.cfg.Domains, func(d string) bool { return certmagic.StorageKeys.Safe(d) == name }) || s.cfg.Ask(name) {
			continue
		}
		m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}})
		if err := s.storage.Delete(ctx, site); err != nil {
			s.cfg.Logger.Warn("a certificate that is not needed any more is not deleted", "error", err)
		}
	}
}
