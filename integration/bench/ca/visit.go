package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

const mib = 1 << 20

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// visit does all works with one contestant. That one of others fails is a result; that
// ours does, too, as the report shows it.
func (r *runner) visit(ctx context.Context, round int, s *site, suffix string, revoked bool) error {
	srv, err := start(ctx, s.contestant)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.add(round, s.name, "start"+suffix, nil, 1, err)
		return nil
	}
	defer srv.process.Stop()
	// Those of this round, of which the first is for the first certificate.
	n := r.Certificates + 1
	devices := r.devices[round*n : (round+1)*n]
	leaf, err := r.first(ctx, round, s, srv, devices[0], suffix)
	if err != nil || leaf == nil {
		return err
	}
	if err := r.issue(ctx, round, s, srv, devices[1:], suffix); err != nil {
		return err
	}
	if !revoked {
		return nil
	}
	return r.list(ctx, round, s, srv, leaf)
}

// first measures the start, with the first certificate, which it gives.
func (r *runner) first(ctx context.Context, round int, s *site, srv *instance, d device, suffix string) (*x509.Certificate, error) {
	leaf, err := srv.certificate(ctx, d)
	took := time.Since(srv.begun)
	if err != nil {
		r.add(round, s.name, "start"+suffix, nil, 1, err)
		return nil, ctx.Err()
	}
	if err := srv.settle(ctx); err != nil {
		return nil, err
	}
	u, err := srv.usage()
	if err != nil {
		return nil, err
	}
	figures := map[score.Metric]float64{
		score.StartUp: ms(srv.started), score.FirstCert: ms(took),
		score.Anon: float64(u.Anon) / mib, score.Resident: float64(u.RSS) / mib,
	}
	if n := s.filled.Certificates; n > 0 && s.filled.Bytes > 0 {
		const mega = 1e6
		figures[score.StoreSize] = float64(s.filled.Bytes) / mega
		figures[score.StoreCert] = float64(s.filled.Bytes) / float64(n)
	}
	r.add(round, s.name, "start"+suffix, figures, 0, nil)
	return leaf, nil
}

// certificate asks for one, and checks that it is the device's.
func (s *instance) certificate(ctx context.Context, d device) (*x509.Certificate, error) {
	path, body, err := s.contestant.ask(d)
	if err != nil {
		return nil, err
	}
	c := s.client()
	defer c.CloseIdleConnections()
	answer, err := s.do(ctx, c, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return s.leaf(answer, d)
}

func (s *instance) leaf(answer []byte, d device) (*x509.Certificate, error) {
	text, err := s.contestant.answer(answer)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no certificate in the answer")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if uris := leaf.URIs; len(uris) != 1 || uris[0].String() != d.id.String() {
		return nil, fmt.Errorf("a certificate for %v, asked for %s", uris, d.id)
	}
	return leaf, nil
}

// issue measures how fast certificates are issued.
func (r *runner) issue(ctx context.Context, round int, s *site, srv *instance, devices []device, suffix string) error {
	work := r.work("issue", suffix)
	result, err := srv.issue(ctx, devices, r.Clients)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.add(round, s.name, work, nil, 1, err)
		return nil
	}
	u, err := srv.usage()
	if err != nil {
		return err
	}
	n := float64(len(devices) - result.errors)
	r.add(round, s.name, work, map[score.Metric]float64{
		score.Certs: n / max(result.elapsed.Seconds(), 1e-9), score.P50: us(result.latency.P50), score.P99: us(result.latency.P99),
		score.CPUCert: us(result.cpu) / max(n, 1), score.Anon: float64(u.Anon) / mib, score.Resident: float64(u.RSS) / mib,
	}, result.errors, result.first)
	return nil
}

// issued is what was measured while certificates were issued.
type issued struct {
	elapsed time.Duration
	latency load.Latency
	cpu     time.Duration // of the server
	errors  int
	first   error
}

// issue lets clients ask for a certificate for each of the devices. Requests are made
// and connections opened before the clock starts, and the last certificate of each client
// is looked at after it has stopped.
func (s *instance) issue(ctx context.Context, devices []device, clients int) (result issued, err error) {
	type request struct {
		path string
		body []byte
	}
	requests := make([]request, len(devices))
	for i, d := range devices {
		if requests[i].path, requests[i].body, err = s.contestant.ask(d); err != nil {
			return result, err
		}
	}
	type client struct {
		*http.Client
		device int
		answer []byte // to the request of device
	}
	all := make([]client, clients)
	for i := range all {
		all[i].Client = s.client()
		defer all[i].CloseIdleConnections()
		if _, err := s.do(ctx, all[i].Client, http.MethodGet, s.contestant.health(), nil); err != nil {
			return result, err
		}
	}
	before, err := s.usage()
	if err != nil {
		return result, err
	}
	var (
		histogram = load.NewHistogram()
		next      atomic.Int64
		mu        sync.Mutex // guards result
		wg        sync.WaitGroup
	)
	began := time.Now()
	for i := range all {
		c := &all[i]
		wg.Go(func() {
			for {
				n := int(next.Add(1) - 1)
				if n >= len(devices) {
					return
				}
				at := time.Now()
				answer, err := s.do(ctx, c.Client, http.MethodPost, requests[n].path, bytes.NewReader(requests[n].body))
				histogram.Add(time.Since(at))
				if err == nil {
					c.device, c.answer = n, answer
					continue
				}
				mu.Lock()
				if result.errors++; result.first == nil {
					result.first = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	result.elapsed = time.Since(began)
	after, err := s.usage()
	if err != nil {
		return result, err
	}
	result.cpu, result.latency = after.CPU-before.CPU, histogram.Summary()
	for _, c := range all {
		if c.answer == nil {
			continue // the others were faster
		}
		if _, err := s.leaf(c.answer, devices[c.device]); err != nil {
			return result, err
		}
	}
	return result, ctx.Err()
}
