package pbx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// remoteAPI is the API of a PBX, as the control centre reaches it.
type remoteAPI struct {
	t       *testing.T
	client  *http.Client
	cookies []*http.Cookie
}

// do gives the status, -1 where the PBX cannot be reached, and the version; out gets the
// answer.
func (a *remoteAPI) do(method, path, body string, change func(*http.Request), out any) (status int, version string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+webService+apiPrefix+path, bytes.NewReader([]byte(body)))
	if err != nil {
		a.t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	for _, c := range a.cookies {
		r.AddCookie(c)
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return -1, ""
	}
	defer func() { _ = resp.Body.Close() }()
	if path == "login" {
		a.cookies = resp.Cookies()
	}
	if out != nil && resp.StatusCode < 300 {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil && !errors.Is(err, io.EOF) {
			a.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	return resp.StatusCode, resp.Header.Get("ETag")
}

// TestMaintenanceThroughTheTunnel is what the control centre does to a paired PBX: it reads
// and changes settings, restarts the PBX and brings firmware, through a relay that sees the
// PBX go and come back as another start.
func TestMaintenanceThroughTheTunnel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ca := pkitest.New(t, td)
	relay := startRelay(t, ca)
	ccc := newFakeCCC(t, ca)
	d, err := dial.New(dial.Config{Relays: []string{relay.Addr()}, Credentials: ccc.creds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	p, err := New(Config{
		Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first, Hasher: quick, Facts: noFacts, Dial: ccc.dial, FirmwareKeys: makerKeys(),
		Agent:  agent.Config{Relays: []string{relay.Addr()}, Transport: agent.TransportTCP, InstanceID: agent.NewInstanceID(), Timing: agent.Timing{BackoffCap: 50 * time.Millisecond}},
		Limits: Limits{Restart: 50 * time.Millisecond, Install: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "pbx", p.Run)
	b := &box{PBX: p, ccc: ccc}
	b.pair(t)
	api := &remoteAPI{t: t, client: wire.HTTPClient(func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, serial, webService) })}
	logIn := func() {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			status, _ := api.do("POST", "login", "", basic(ccc.pairing.user, ccc.pairing.pass), nil)
			if status == http.StatusOK {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("the PBX does not come: %d", status)
			}
		}
	}
	back := func(from string) (s System) {
		t.Helper()
		for {
			logIn()
			if status, _ := api.do("GET", "system", "", nil, &s); status == http.StatusOK && s.Boot != from {
				return s
			}
			if ctx.Err() != nil {
				t.Fatal("it does not come back")
			}
		}
	}
	session := func() uint64 {
		t.Helper()
		all := relay.Sessions("device/" + string(serial))
		if len(all) != 1 {
			t.Fatalf("%d sessions", len(all))
		}
		return all[0].Epoch
	}

	logIn()
	before := session()
	var system System
	if status, _ := api.do("GET", "system", "", nil, &system); status != http.StatusOK || system.Boot == "" {
		t.Fatalf("%d, %+v", status, system)
	}
	var values settings.Settings
	status, version := api.do("GET", "settings", "", nil, &values)
	if status != http.StatusOK || version == "" || len(values.CodecOrder) == 0 {
		t.Fatalf("settings: %d, %s, %+v", status, version, values)
	}
	at := func(r *http.Request) { r.Header.Set("If-Match", version) }
	var changes Changes
	if status, next := api.do("PATCH", "settings", `{"ntp_server":"ntp.example.net","codec_order":["g722"]}`, at, &changes); status != http.StatusOK || next == version || !changes.RestartNeeded {
		t.Fatalf("change: %d, %s, %+v", status, next, changes)
	}
	if status, _ := api.do("PATCH", "settings", `{"ntp_server":"other"}`, at, nil); status != http.StatusPreconditionFailed {
		t.Errorf("the old version: %d", status)
	}

	if status, _ := api.do("POST", "restart", "", nil, nil); status != http.StatusAccepted {
		t.Fatalf("restart: %d", status)
	}
	after := back(system.Boot)
	if after.RestartNeeded || session() == before {
		t.Errorf("%+v, session %d", after, session())
	}
	if status, _ := api.do("GET", "settings", "", nil, &values); status != http.StatusOK || values.NTPServer != "ntp.example.net" {
		t.Errorf("settings afterwards: %d, %+v", status, values)
	}

	octets := func(r *http.Request) { r.Header.Set("Content-Type", "application/octet-stream") }
	changed := imageOf(t, "2.0.0")
	changed[len(changed)-1] ^= 1
	if status, _ := api.do("PUT", "firmware", string(changed), octets, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("an image that somebody has changed: %d", status)
	}
	var seen pages.Firmware
	if status, _ := api.do("PUT", "firmware", string(imageOf(t, "2.0.0")), octets, &seen); status != http.StatusAccepted || seen.State != pages.FirmwareInstalling {
		t.Fatalf("firmware: %d, %+v", status, seen)
	}
	updated := back(after.Boot)
	if updated.Firmware != "2.0.0" {
		t.Errorf("%+v", updated)
	}
	if status, _ := api.do("POST", "firmware/rollback", "", nil, nil); status != http.StatusAccepted {
		t.Errorf("rollback: %d", status)
	}
	if got := back(updated.Boot); got.Firmware != "1.0.0-sim" {
		t.Errorf("back: %+v", got)
	}
}
