package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestFailuresTellNothingOfInside: whatever goes wrong inside, what is kept and logged of
// a delivery has one of the known words, and no name, address or server.
func TestFailuresTellNothingOfInside(t *testing.T) {
	t.Parallel()
	const host, server = "db7.inside.example", "10.66.0.53:53"
	refused := &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 66, 0, 9), Port: 4711}, Addr: &net.TCPAddr{IP: net.IPv4(10, 66, 0, 7), Port: 443}, Err: errors.New("connection refused by " + host)}
	for want, all := range map[string][]error{
		FailureName: {
			&net.DNSError{Err: "no such host", Name: host, Server: server, IsNotFound: true},
			&net.DNSError{Err: "i/o timeout", Name: host, Server: server, IsTimeout: true},
			&net.OpError{Op: "dial", Net: "tcp", Addr: refused.Addr, Err: ErrNotPublic},
		},
		FailureCertificate: {&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{host}}, Host: "x"}}},
		FailureTimeout:     {fmt.Errorf("%s: %w", host, context.DeadlineExceeded)},
		FailureConnection:  {refused, fmt.Errorf("proxy at %s said: 502 %s", server, host)},
	} {
		for _, planted := range all {
			var log bytes.Buffer
			p := newPlace(t, func(c *Config) {
				c.BreakAfter, c.Logger = 1, hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
			})
			p.s.http = &http.Client{Transport: trip(func(*http.Request) (*http.Response, error) { return nil, planted })}
			w, _ := p.hook("https://hook.example/")
			p.say(1)
			var claimed []store.Delivery
			p.update(func(tx *store.Tx) (err error) {
				claimed, err = tx.ClaimDeliveries(w.ID, time.Now(), time.Now().Add(time.Minute), 1)
				return err
			})
			p.s.deliver(t.Context(), w, claimed[0])
			tries := p.tries(w, claimed[0].ID)
			if len(tries) != 1 || tries[0].Failure != want || !slices.Contains(Failures(), want) || want == FailureName && tries[0].Milliseconds != 0 {
				t.Errorf("%v: kept is %+v", planted, tries)
			}
			if text := log.String(); !strings.Contains(text, want) || strings.Contains(text, "inside") || strings.Contains(text, "10.66") {
				t.Errorf("%v: logged is %s", planted, text)
			}
			if text := planted.Error(); !strings.Contains(text, "inside") && !strings.Contains(text, "10.66") {
				t.Errorf("nothing is planted in %s", text)
			}
		}
	}
}

// TestNamesInsideAreUnknown: a name that leads inside and one that there is not look the
// same.
func TestNamesInsideAreUnknown(t *testing.T) {
	t.Parallel()
	p := newPlace(t, func(c *Config) { c.AllowNetworks = nil })
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something is sent there") }))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	seen := map[string]string{}
	for name, zone := range map[string]string{"leads inside": nameServer(t, "127.0.0.1"), "is not known": nameServer(t, "")} {
		p.cfg.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "udp", zone)
		}}
		var err error
		p.s, err = New(p.cfg)
		p.must(err)
		w, _ := p.hook("https://rebind.example:" + port + "/hook")
		p.say(1)
		var claimed []store.Delivery
		p.update(func(tx *store.Tx) (err error) {
			claimed, err = tx.ClaimDeliveries(w.ID, time.Now(), time.Now().Add(time.Minute), 1)
			return err
		})
		p.s.deliver(t.Context(), w, claimed[0])
		try := p.tries(w, claimed[0].ID)[0]
		seen[name] = fmt.Sprint(try.Status, try.Failure, try.Milliseconds)
	}
	if seen["leads inside"] != seen["is not known"] || seen["is not known"] != "0"+FailureName+"0" {
		t.Errorf("seen is %v", seen)
	}
}

// trip answers requests.
type trip func(*http.Request) (*http.Response, error)

// RoundTrip does.
func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tries gives what came of each try of a delivery.
func (p *place) tries(w store.Webhook, id store.DeliveryID) (all []store.Try) {
	p.t.Helper()
	p.must(p.cfg.Store.View(context.Background(), func(tx *store.Tx) (err error) {
		_, all, err = tx.Delivery(p.tenant, w.ID, id)
		return err
	}))
	return all
}
