package remote_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// site is a paired PBX whose administrator has switched remote access on, and its control
// centre, which the test speaks for.
type site struct {
	t       *testing.T
	w       *world.World
	serial  identity.Serial
	pbx     *person // its administrator
	pairing wire.PairingID
	epoch   uint64
	ccc     *enrol.Credentials
	service grant.Service // of what is asked for and granted
}

func newSite(ctx context.Context, t *testing.T, w *world.World, i int) *site {
	t.Helper()
	s := &site{t: t, w: w, serial: w.Device(i), pbx: newPerson(t, w.PBX(i).URL), service: grant.Web}
	first, err := w.PBX(i).FirstPassword()
	if err == nil {
		s.ccc, _, err = w.Credentials(ctx, "ccc")
	}
	password, perr := w.Centre().AdminPassword()
	if err = errors.Join(err, perr); err != nil {
		t.Fatal(err)
	}
	customer := newPerson(t, w.Centre().HTTP)
	if err := customer.do(ctx, http.MethodPost, "session", api.Credentials{Email: w.Centre().Email, Password: password}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.pbx.do(ctx, http.MethodPost, "login", nil, nil, func(r *http.Request) { r.SetBasicAuth("admin", first) }); err != nil {
		t.Fatal(err)
	}
	var saved api.SystemOffer
	if err := customer.do(ctx, http.MethodPost, "systems", api.NewSystem{Serial: string(s.serial), Name: "PBX"}, &saved); err != nil {
		t.Fatal(err)
	}
	var local struct {
		Paired *struct{ Pairing wire.PairingID } `json:"paired"`
		Offers []struct{ ID string }             `json:"offers"`
	}
	about := func() error { return s.pbx.do(ctx, http.MethodGet, "ccc", nil, &local) }
	eventually(ctx, t, "the offer at the PBX", func() error {
		if err := about(); err != nil || len(local.Offers) > 0 {
			return err
		}
		return errors.New("none")
	})
	if err := s.pbx.do(ctx, http.MethodPost, "ccc/enable", map[string]string{"token": saved.Offer.Token, "password": first}, nil); err != nil {
		t.Fatal(err)
	}
	var system api.System
	eventually(ctx, t, "the pairing", func() error {
		err := errors.Join(about(), customer.do(ctx, http.MethodGet, "systems/"+saved.System.ID, nil, &system))
		if err == nil && (system.State != store.StatePaired || local.Paired == nil) {
			err = fmt.Errorf("it is %s", system.State)
		}
		return err
	})
	s.pairing = local.Paired.Pairing
	if s.epoch, err = strconv.ParseUint(system.Epoch, 10, 64); err != nil {
		t.Fatal(err)
	}
	s.switchRemote(ctx, true)
	return s
}

func (s *site) switchRemote(ctx context.Context, on bool) {
	s.t.Helper()
	if err := s.pbx.do(ctx, http.MethodPut, "switches", map[string]bool{"remote": on}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// ask delivers a request for remote access, as the control centre does, and gives its
// session, which waits for consent.
func (s *site) ask(ctx context.Context, life time.Duration) grant.SessionID {
	s.t.Helper()
	now := time.Now()
	id := grant.SessionID("e2e-" + rand.Text())
	request, err := wire.Sign(s.ccc, wire.Remote{
		Session: id, Pairing: s.pairing, Serial: s.serial, Epoch: s.epoch, Tenant: "Musterfirma GmbH", User: "Erika Muster", Reason: "no dial tone",
		Service: s.service, Life: life, IssuedAt: now, ExpiresAt: now.Add(10 * time.Minute), ExpiresIn: 10 * time.Minute,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := dial.New(dial.Config{Relays: []string{s.w.RelayAddr(0)}, Credentials: s.ccc})
	if err != nil {
		s.t.Fatal(err)
	}
	// No longer than needed: calls to the control centre could come here.
	defer func() { _ = d.Close() }()
	pbx := wire.PBX{HTTP: wire.HTTPClient(func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, s.serial, wire.Service) })}
	if state, err := pbx.Remote(ctx, request); err != nil || state != grant.Pending {
		s.t.Fatalf("%s, %v", state, err)
	}
	return id
}

// decide is what the administrator does with a session: allow, refuse or end.
func (s *site) decide(ctx context.Context, id grant.SessionID, what string) {
	s.t.Helper()
	body := any(map[string]int{}) // minutes: as many as were asked for
	if what == "end" {
		body = nil
	}
	if err := s.pbx.do(ctx, http.MethodPost, "remote/"+string(id)+"/"+what, body, nil); err != nil {
		s.t.Fatal(err)
	}
}

// grant issues one for a browser, as the control centre does. hash is how the gateway has
// told it of the browser.
func (s *site) grant(id grant.SessionID, label, hash string) (string, error) {
	browser, err := base64.RawURLEncoding.DecodeString(hash)
	if err != nil || len(browser) != 32 {
		return "", fmt.Errorf("browser %q", hash)
	}
	now := time.Now().Truncate(time.Second)
	return grant.Sign(s.ccc, grant.Grant{
		ID: grant.ID(rand.Text()), Audience: label + "." + world.GatewayName, Session: id, Serial: s.serial, Epoch: s.epoch, Service: s.service,
		User: "Erika Muster", Tenant: "Musterfirma GmbH", Browser: [32]byte(browser), Issued: now, Expires: now.Add(grant.MaxLife),
	})
}

// person is somebody at an API: of the control centre, or of a PBX.
type person struct {
	base string
	http *http.Client
}

func newPerson(t *testing.T, base string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &person{base: base, http: &http.Client{Jar: jar, Transport: tr, Timeout: patience}}
}

// do sends JSON and reads some into out, unless that is nil.
func (p *person) do(ctx context.Context, method, path string, in, out any, prepare ...func(*http.Request)) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base+"/api/v1/"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	for _, f := range prepare {
		f(req)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= 300:
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}
