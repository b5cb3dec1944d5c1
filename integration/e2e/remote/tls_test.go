package remote_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	araremote "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/conformance"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// TestEndToEnd: a browser gets the PBX's pages with the PBX's own certificate, through a
// gateway that has nothing of what is in there; and gets them only in a session that the
// administrator has let in, from where it was opened, until its end.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, pbxSealed)
	s.service = grant.TLS
	const home, away = "127.0.0.1", "127.0.0.99"
	v, stranger := newVisit(s, home), newVisit(s, away)
	own := v.own(s.serial)
	v.refused(ctx, "no session", own)
	id := s.ask(ctx, time.Hour)
	v.refused(ctx, "no consent, no grant", own)
	origin := v.redeem(ctx, id)
	v.refused(ctx, "no consent", own)
	s.decide(ctx, id, "allow")
	v.opens(ctx, origin, own+"/")

	// The certificate may still be on its way.
	eventually(ctx, t, "the PBX's certificate", func() error {
		status, _, text, err := v.get(ctx, own+"/login")
		if err == nil && (status != http.StatusOK || !strings.Contains(text, `name="password"`)) {
			err = fmt.Errorf("%d %.60q", status, text)
		}
		return err
	})
	name := grant.PBXName(s.serial, world.PBXDomain)
	if !slices.Equal(v.seen.DNSNames, []string{name}) || time.Until(v.seen.NotAfter) < 24*time.Hour {
		t.Errorf("the certificate is for %q until %s", v.seen.DNSNames, v.seen.NotAfter)
	}
	if dir := filepath.Join(s.w.Dir(), "ara"); len(holders(t, filepath.Join(s.w.Dir(), "device-"+string(s.serial), "tls"), name)) == 0 {
		t.Error("control: the PBX does not keep its certificate")
	} else if found := holders(t, dir, name); found != nil {
		t.Errorf("the gateway has the PBX's name in %q", found)
	}

	v.refused(ctx, "another PBX", v.own(s.w.Device(pbxCurl)))
	v.refused(ctx, "a PBX that is not", v.own("0999999999"))
	v.refused(ctx, "no PBX's name", strings.Replace(own, "https://s", "https://x", 1))
	stranger.refused(ctx, "another address", own)
	v.secret(ctx, own)
	v.pinned(ctx, own)
	s.notByForce(ctx, id)

	// What ends the session ends what is open.
	cut := v.clock(ctx, own)
	began := time.Now()
	s.decide(ctx, id, "end")
	if took := (<-cut).Sub(began); took > within {
		t.Errorf("cut after %s", took)
	} else {
		t.Logf("cut after %s", took)
	}
	v.refused(ctx, "after the end", own)
	type record struct {
		ID  grant.SessionID `json:"session"`
		In  int64           `json:"bytes_in"`
		Out int64           `json:"bytes_out"`
	}
	var view struct {
		Sessions []record `json:"sessions"`
	}
	if err := s.pbx.do(ctx, http.MethodGet, "remote", nil, &view); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(view.Sessions, func(r record) bool { return r.ID == id })
	if i < 0 || view.Sessions[i].In < 50_000 || view.Sessions[i].Out < 1_000 {
		t.Errorf("the record: %+v", view.Sessions)
	}
}

// secret looks for what is sent through the gateway in its memory and in its files: of a
// session of this kind there is nothing, and of one of the service web there is.
func (v *visit) secret(ctx context.Context, own string) {
	t, s := v.s.t, v.s
	t.Helper()
	sealed, open := "sealed-"+rand.Text(), "open-"+rand.Text()
	v.hold(ctx, own+conformance.Path+"echo", sealed, func() {
		if remembers(t, s.w, "ara", sealed) {
			t.Error("the gateway can read what goes through it")
		}
		if !remembers(t, s.w, "device-"+string(s.serial), sealed) {
			t.Error("control: the PBX has not got it")
		}
	})
	if found := holders(t, filepath.Join(s.w.Dir(), "ara"), sealed); found != nil {
		t.Errorf("it is in %q", found)
	}
	if found := holders(t, filepath.Join(s.w.Dir(), "ara", "log"), "s"+string(s.serial)+"."); found != nil {
		t.Errorf("the name is in the log")
	}

	web := *s
	web.service = grant.Web
	id := web.ask(ctx, time.Hour)
	web.decide(ctx, id, "allow")
	w := newVisit(&web, "127.0.0.1")
	origin := w.redeem(ctx, id)
	w.opens(ctx, origin, "/")
	w.hold(ctx, origin+conformance.Path+"echo", open, func() {
		if !remembers(t, s.w, "ara", open) {
			t.Error("control: the gateway of the service web has it in its memory, and it is not found")
		}
	})
	web.decide(ctx, id, "end")
}

// pinned is about a gateway that shows a certificate of its own for the PBX's name. The CA
// gives it none; where it has one from somewhere, who has seen the PBX's key notices.
func (v *visit) pinned(ctx context.Context, own string) {
	t, s := v.s.t, v.s
	t.Helper()
	pin := sha256.Sum256(v.seen.RawSubjectPublicKeyInfo)
	_, admin := s.w.PKI()
	name := grant.PBXName(s.serial, world.PBXDomain)
	forged, err := admin.Issue(ctx, identity.Service(identity.DefaultTrustDomain, "forger"), profile.Extra{DNS: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	cert := forged.Certificate()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: hclog.NewNullLogger().StandardLogger(nil), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "forged") })}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	rogue := newVisit(s, "127.0.0.1")
	rogue.addr = ln.Addr().String()
	if _, _, text, err := rogue.get(ctx, own+"/"); text != "forged" {
		t.Errorf("control: who does not look takes it: %v", err)
	}
	rogue.pin = &pin
	if _, _, _, err := rogue.get(ctx, own+"/"); err == nil || !strings.Contains(err.Error(), errPin.Error()) {
		t.Errorf("who knows the PBX's key: %v", err)
	}
	rogue.addr = v.addr
	if status, _, _, err := rogue.get(ctx, own+"/login"); status != http.StatusOK {
		t.Errorf("the PBX itself, with the pin: %v", err)
	}
}

// notByForce has a gateway without rules ask for pages on calls of certificate authorities,
// and of another service.
func (s *site) notByForce(ctx context.Context, id grant.SessionID) {
	t := s.t
	t.Helper()
	d, err := s.w.Dialer(ctx, "ara")
	if err != nil {
		t.Fatal(err)
	}
	for purpose, want := range map[string]bool{id.Purpose(): true, araremote.PurposeChallenge: false, "": false, "remote/nobody": false} {
		c, err := d.Open(ctx, dial.Call{Target: d.Device(s.serial), Service: "tls", Purpose: purpose})
		if err == nil {
			conn := tls.Client(c, &tls.Config{ServerName: grant.PBXName(s.serial, world.PBXDomain), InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // whether there is anything
			_, err = fmt.Fprintf(conn, "GET /login HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", grant.PBXName(s.serial, world.PBXDomain))
			if err == nil {
				var page []byte
				if page, err = io.ReadAll(conn); !bytes.Contains(page, []byte(`name="password"`)) && err == nil {
					err = io.ErrUnexpectedEOF
				}
			}
			_ = c.Close()
		}
		if (err == nil) != want {
			t.Errorf("purpose %q: %v", purpose, err)
		}
	}
	(gateway{s, d}).refused(ctx, "the service web in a session of tls", id.Purpose())
}

// clock opens a stream, and gives when it is cut.
func (v *visit) clock(ctx context.Context, own string) <-chan time.Time {
	t := v.s.t
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, own+conformance.Path+"clock?n=1000&every=100", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := v.http.Do(req) //nolint:bodyclose // below, when it was cut
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	done := make(chan time.Time, 1)
	go func() {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		done <- time.Now()
	}()
	return done
}

// TestHello: what is no hello, or too long a one, gets nothing, and the gateway goes on.
func TestHello(t *testing.T) {
	t.Parallel()
	ctx, s := start(t, pbxHello)
	v := newVisit(s, "127.0.0.1")
	for name, text := range map[string][]byte{
		"garbage":        bytes.Repeat([]byte{0x16, 3, 1, 0, 5}, 10),
		"HTTP":           []byte("GET / HTTP/1.1\r\nHost: " + grant.PBXName(s.serial, world.PBXDomain) + "\r\n\r\n"),
		"a long record":  append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 70_000)...),
		"a long message": slices.Concat([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff}, make([]byte, 40_000)),
	} {
		if answer := v.raw(ctx, text); bytes.Contains(answer, []byte("password")) {
			t.Errorf("%s: %q", name, answer)
		}
	}
	if status, _, _, err := v.get(ctx, s.w.Gateway().URL+"/"); status != http.StatusOK {
		t.Errorf("the gateway afterwards: %d, %v", status, err)
	}
	c, err := net.Dial("tcp", v.addr) // one that says nothing and goes
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
