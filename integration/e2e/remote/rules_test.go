package remote_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/conformance"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// within is how long a PBX may take to cut what is open.
const within = 2 * time.Second

// gateway is one that ignores every rule: it asks no PBX how a session stands, and dials.
type gateway struct {
	site *site
	dial *dial.Dialer
}

// open sends the head of a request to a service of the PBX; the connection's bytes follow.
func (g gateway) open(ctx context.Context, service, purpose, path string, inner dial.Inner) (*dial.Conn, error) {
	c, err := g.dial.Open(ctx, dial.Call{Target: g.dial.Device(g.site.serial), Service: service, Purpose: purpose, Inner: inner})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: pbx\r\n\r\n", path); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// refused wants no byte of the PBX's pages, however it is asked.
func (g gateway) refused(ctx context.Context, when string, purposes ...string) {
	t := g.site.t
	t.Helper()
	for _, purpose := range append(purposes, "", "remote/", "remote/nobody", "pairing", "remote/../"+purposes[0]) {
		for _, inner := range []dial.Inner{dial.Mux, dial.TLS} {
			for _, path := range []string{"/login", conformance.Path, "/api/v1/system"} {
				c, err := g.open(ctx, "web", purpose, path, inner)
				if err == nil {
					var n int64
					n, err = io.Copy(io.Discard, c)
					_ = c.Close()
					if n > 0 || err == nil {
						t.Errorf("%s, purpose %q, %v, %s: %d bytes, %v", when, purpose, inner, path, n, err)
						continue
					}
				}
				if code := tunnel.CodeOf(err); code != tunnel.CodeRefusedByDevice {
					t.Errorf("%s, purpose %q, %v, %s: %v", when, purpose, inner, path, err)
				}
			}
		}
	}
}

// stream opens something that never ends by itself, and gives what ends when it is cut.
func (g gateway) stream(ctx context.Context, id grant.SessionID) (cut <-chan time.Time) {
	t := g.site.t
	t.Helper()
	c, err := g.open(ctx, "web", id.Purpose(), conformance.Path+"clock?n=1000&every=100", dial.Mux)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // its end is that of the connection
	if err == nil && resp.StatusCode == http.StatusOK {
		_, err = resp.Body.Read(make([]byte, 1)) // it runs
	} else {
		err = errors.Join(err, fmt.Errorf("%+v", resp))
	}
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan time.Time, 1)
	go func() {
		defer func() { _ = c.Close() }()
		_, err := io.Copy(io.Discard, r)
		if tunnel.CodeOf(err) != tunnel.CodeRefusedByDevice {
			t.Errorf("the end of a stream: %v", err)
		}
		done <- time.Now()
	}()
	return done
}

// TestRulelessGateway: a gateway that ignores every rule gets no byte of the pages without
// consent at the PBX. With it, it does, and the PBX cuts what is open at the end: by
// the administrator, by the switch, by its timer.
func TestRulelessGateway(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, pbxRules)
	d, err := s.w.Dialer(ctx, "ara")
	if err != nil {
		t.Fatal(err)
	}
	g := gateway{s, d}
	id := s.ask(ctx, time.Hour)
	g.refused(ctx, "nobody has consented", id.Purpose())
	s.decide(ctx, id, "refuse")
	g.refused(ctx, "refused", id.Purpose())

	ends := map[string]func(grant.SessionID) time.Time{
		"end":    func(id grant.SessionID) time.Time { now := time.Now(); s.decide(ctx, id, "end"); return now },
		"switch": func(grant.SessionID) time.Time { now := time.Now(); s.switchRemote(ctx, false); return now },
	}
	for name, end := range ends {
		id := s.ask(ctx, time.Hour)
		s.decide(ctx, id, "allow")
		cut := g.stream(ctx, id)
		began := end(id)
		at := <-cut
		if took := at.Sub(began); took > within {
			t.Errorf("%s: the stream was cut after %s, want at most %s", name, took, within)
		} else {
			t.Logf("%s: the stream was cut after %s", name, took)
		}
		g.refused(ctx, name, id.Purpose())
		s.switchRemote(ctx, true)
		g.refused(ctx, name+", switched on again", id.Purpose())
	}

	const life = 5 * time.Second
	id = s.ask(ctx, life)
	before := time.Now()
	s.decide(ctx, id, "allow")
	after := time.Now()
	at := <-g.stream(ctx, id)
	if at.Before(before.Add(life)) || at.After(after.Add(life+within)) {
		t.Errorf("the timer cuts after %s, want %s", at.Sub(after), life)
	}
	t.Logf("timer of %s: the stream was cut %s after the consent", life, at.Sub(before))
	g.refused(ctx, "the time is over", id.Purpose())
}
