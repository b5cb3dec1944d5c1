package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Service delivers. Make it with [New], run it with [Service.Run].
type Service struct {
	cfg   Config
	log   hclog.Logger
	guard guard
	http  *http.Client
	wake  chan struct{} // something may be due; has room for one
	share *shares       // of the deliveries on their way
	wg    sync.WaitGroup
}

// New makes a service. It starts nothing.
func New(cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Store == nil || cfg.Keys == nil {
		return nil, errors.New("webhook: Store and Keys are needed")
	}
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), share: newShares(cfg.PerTenant, cfg.Total)}
	var err error
	if s.guard, err = newGuard(cfg.AllowNetworks); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: s.dialer().DialContext, TLSHandshakeTimeout: cfg.Timeout, ResponseHeaderTimeout: cfg.Timeout,
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if cfg.CAFile != "" {
		if transport.TLSClientConfig.RootCAs, err = roots(cfg.CAFile); err != nil {
			return nil, &configs.KeyError{Key: "ca_file", Problem: err.Error(), Cause: err}
		}
	}
	if cfg.Proxy != "" {
		proxy, err := url.Parse(cfg.Proxy)
		if err != nil {
			return nil, &configs.KeyError{Key: "proxy", Problem: err.Error(), Cause: err}
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	s.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

func roots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("has no certificate in PEM")
	}
	return pool, nil
}

// Wake has the service look for what is due. It never waits.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

const (
	// lookEvery is how often the database is asked for what other processes, or changes that
	// nobody tells of, have put there.
	lookEvery = 2 * time.Second
	// sweepEvery is how often what is old is removed.
	sweepEvery = time.Hour
	// grace is how much longer than a try may take a delivery is another's.
	grace = 30 * time.Second
)

// Run delivers until ctx ends, and returns when nothing is on its way any more.
func (s *Service) Run(ctx context.Context) error {
	defer s.http.CloseIdleConnections()
	defer s.wg.Wait()
	if err := s.reseal(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("the secrets of webhooks stay with the key that they have", "error", err)
	}
	look, sweep := time.NewTicker(lookEvery), time.NewTicker(sweepEvery)
	defer look.Stop()
	defer sweep.Stop()
	for {
		if err := s.begin(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("what is due for webhooks is not known", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		case <-look.C:
		case <-sweep.C:
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("old deliveries stay", "error", err)
			}
		}
	}
}

func (s *Service) sweep(ctx context.Context) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		now := time.Now()
		_, late := tx.GiveUpDeliveries(now.Add(-s.cfg.RetryFor))
		_, err := tx.SweepDeliveries(now.Add(-s.cfg.Keep))
		return errors.Join(late, err)
	})
}

// begin begins what is due, as far as there is room.
func (s *Service) begin(ctx context.Context) error {
	var due []store.Webhook
	now := time.Now()
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		due, err = tx.DueWebhooks(now)
		return err
	})
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] }) // where there is not room for all
	for err == nil && len(due) > 0 {
		due, err = s.beginLots(ctx, s.share.allot(due, s.most), now)
	}
	return err
}

// most gives how many deliveries a webhook gets at once.
func (s *Service) most(w store.Webhook) int {
	if w.Failures >= s.cfg.BreakAfter {
		return 1 // to see whether it is back
	}
	return s.cfg.Parallel
}

// beginLots begins deliveries, and gives the webhooks that have used what they got: there
// may be more for them.
func (s *Service) beginLots(ctx context.Context, lots []lot, now time.Time) (more []store.Webhook, err error) {
	claimed := make([][]store.Delivery, len(lots))
	if len(lots) > 0 {
		err = s.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
			for i, l := range lots {
				if claimed[i], err = tx.ClaimDeliveries(l.webhook.ID, now, now.Add(s.cfg.Timeout+grace), l.n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i, l := range lots {
		if err != nil {
			claimed[i] = nil // by a transaction that was undone
		}
		s.share.release(l.webhook, l.n-len(claimed[i]))
		for _, d := range claimed[i] {
			s.wg.Go(func() {
				defer s.Wake()
				defer s.share.release(l.webhook, 1)
				s.deliver(ctx, l.webhook, d)
			})
		}
		if len(claimed[i]) == l.n {
			more = append(more, l.webhook)
		}
	}
	return more, err
}

// reseal takes secrets to the newest key.
func (s *Service) reseal(ctx context.Context) error {
	var all []store.Webhook
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.AllWebhooks()
		return err
	})
	for _, w := range all {
		secret, changed, err1 := s.cfg.Keys.Reseal(purposeSecret, string(w.ID), w.SecretSealed)
		previous, also := w.PreviousSealed, false
		var err2 error
		if len(previous) > 0 {
			previous, also, err2 = s.cfg.Keys.Reseal(purposePrevious, string(w.ID), previous)
		}
		failed := errors.Join(err1, err2)
		if failed == nil && (changed || also) {
			failed = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				now, err := tx.WebhookByID(w.ID)
				if err != nil || string(now.SecretSealed) != string(w.SecretSealed) {
					return nil //nolint:nilerr // it is gone, or has a new one
				}
				return tx.ResealWebhook(w.ID, secret, previous)
			})
		}
		err = errors.Join(err, failed)
	}
	return err
}

// failureOf says in one word why there was no answer.
func failureOf(err error) string {
	var dns *net.DNSError
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ErrNotPublic), errors.As(err, &dns):
		return FailureName // whether a name inside is known is nobody's business
	case errors.As(err, &certificate):
		return FailureCertificate
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return FailureTimeout
	}
	return FailureConnection
}
