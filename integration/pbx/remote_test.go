package pbx

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/coder/websocket"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/conformance"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// remoteRequest is one of the control centre's.
func (c *fakeCCC) remoteRequest(id grant.SessionID, change ...func(*wire.Remote)) wire.Remote {
	now := time.Now().UTC()
	r := wire.Remote{
		Session: id, Serial: serial, Tenant: "Muster GmbH", User: "Erika Muster", Reason: "no dial tone", Service: grant.Web, Life: time.Hour,
		IssuedAt: now, ExpiresAt: now.Add(15 * time.Minute), ExpiresIn: 15 * time.Minute,
	}
	c.set(func() {
		if c.pairing != nil {
			r.Pairing = c.pairing.id
		}
		r.Epoch = c.epoch
	})
	for _, f := range change {
		f(&r)
	}
	return r
}

// askRemote delivers a request.
func (b *box) askRemote(t *testing.T, r wire.Remote) (grant.State, error) {
	t.Helper()
	return b.ccc.client(b.PBX).Remote(t.Context(), b.ccc.sign(r))
}

func (b *box) switchRemote(t *testing.T, on bool) {
	t.Helper()
	if err := b.setSwitches(func(s *state.Switches) error { s.Remote = on; return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestRemoteRefuses: what the control centre is told.
func TestRemoteRefuses(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	want := func(what string, code wire.Code, r wire.Remote) {
		t.Helper()
		if _, err := b.askRemote(t, r); wire.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", what, err, code)
		}
	}
	b.switchRemote(t, true)
	want("not paired", wire.CodeNotPaired, b.ccc.remoteRequest("s-1", func(r *wire.Remote) { r.Pairing, r.Epoch = "pairing-1", 1 }))
	b.pair(t)
	want("other epoch", wire.CodeNotPaired, b.ccc.remoteRequest("s-1", func(r *wire.Remote) { r.Epoch = 7 }))
	want("other serial", wire.CodeNotForUs, b.ccc.remoteRequest("s-1", func(r *wire.Remote) { r.Serial = "9999999999" }))
	want("no target", wire.CodeNoTarget, b.ccc.remoteRequest("s-1", func(r *wire.Remote) { r.Service, r.Target = grant.SSH, "switch" }))
	other := b.ccc.ca.Credentials(identity.Service(td, "ara"))
	jws, err := wire.Sign(other, b.ccc.remoteRequest("s-1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ccc.client(b.PBX).Remote(t.Context(), jws); wire.CodeOf(err) != wire.CodeBadSignature {
		t.Errorf("signed by the gateway: %v", err)
	}
	b.switchRemote(t, false)
	want("switched off", wire.CodeRemoteOff, b.ccc.remoteRequest("s-1"))
	b.switchRemote(t, true)
	if v := b.Remote().View(); len(v.Sessions) != 0 {
		t.Errorf("%+v", v)
	}
	if st, err := b.askRemote(t, b.ccc.remoteRequest("s-1", func(r *wire.Remote) { r.Service, r.Target = grant.TCP, remote.OwnWeb })); err != nil || st != grant.Pending {
		t.Errorf("own pages: %s, %v", st, err)
	}
	for range 2 { // whether it has it or not
		if err := b.ccc.client(b.PBX).RemoteEnd(t.Context(), wire.RemoteEnd{Session: "s-9", Cause: grant.CauseCCC}); err != nil {
			t.Error(err)
		}
	}
}

// tunnelBox is a PBX behind a real relay, its gateway, and the reports that came.
type tunnelBox struct {
	*PBX
	t       *testing.T
	ctx     context.Context
	ccc     *fakeCCC
	ara     *dial.Dialer
	centre  *dial.Dialer
	mu      sync.Mutex
	reports []wire.RemoteReport // guarded by mu
	news    chan struct{}
}

func newTunnelBox(t *testing.T, change ...func(*Config)) *tunnelBox {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ca := pkitest.New(t, td)
	r := startRelay(t, ca)
	b := &tunnelBox{t: t, ctx: ctx, ccc: newFakeCCC(t, ca), news: make(chan struct{}, 1)}
	dialer := func(name string) *dial.Dialer {
		d, err := dial.New(dial.Config{Relays: []string{r.Addr()}, Credentials: ca.Credentials(identity.Service(td, name))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	b.centre, b.ara = dialer("ccc"), dialer("ara")
	ln, err := b.centre.Listen(wire.Service)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", b.ccc.handler())
	mux.Handle("POST "+wire.PathRemoteReport, wire.Handle(0, func(_ context.Context, m wire.RemoteReport) (wire.Empty, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.reports = append(b.reports, m)
		return wire.Empty{}, nil
	}))
	srv := &http.Server{Handler: mux}
	background(t, "control centre", func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	cfg := Config{
		Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first, Hasher: quick, Facts: noFacts,
		Agent: agent.Config{Relays: []string{r.Addr()}, Transport: agent.TransportTCP, InstanceID: agent.NewInstanceID()},
		OnChange: func() {
			select {
			case b.news <- struct{}{}:
			default:
			}
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	if b.PBX, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	background(t, "pbx", b.Run)
	b.until("the tunnel is up", func() bool { return b.Agent().Status().Online() })
	o := b.ccc.offer("offer-1")
	if _, err := b.pbx().Offer(ctx, b.ccc.sign(o.Offer)); err != nil {
		t.Fatal(err)
	}
	if err := b.Enable(ctx, o.Token.Reveal(), ""); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tunnelBox) until(what string, ok func() bool) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-b.news:
		case <-tick.C:
		case <-b.ctx.Done():
			b.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// pbx is the PBX as the control centre talks to it.
func (b *tunnelBox) pbx() wire.PBX {
	return wire.PBX{HTTP: wire.HTTPClient(func(ctx context.Context) (net.Conn, error) { return b.centre.DialContext(ctx, serial, wire.Service) })}
}

func (b *tunnelBox) ask(r wire.Remote) grant.State {
	b.t.Helper()
	st, err := b.pbx().Remote(b.ctx, b.ccc.sign(r))
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// open opens a call as the gateway, which ignores every rule.
func (b *tunnelBox) open(id grant.SessionID, service string) (net.Conn, error) {
	return b.ara.Open(b.ctx, dial.Call{Target: identity.Device(td, serial), Service: service, Purpose: id.Purpose()})
}

// web makes one request to the pages.
func (b *tunnelBox) web(id grant.SessionID, service string) (int, error) {
	c := wire.HTTPClient(func(context.Context) (net.Conn, error) { return b.open(id, service) })
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, "http://pbx/login", nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (b *tunnelBox) over() (last wire.RemoteReport, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.reports {
		if r.State.Final() {
			return r, true
		}
	}
	return last, false
}

// TestRemoteThroughTheTunnel: a gateway that ignores every rule sees no byte of the pages
// without consent, and none after the end.
func TestRemoteThroughTheTunnel(t *testing.T) {
	t.Parallel()
	b := newTunnelBox(t)
	refused := func(when string, services ...string) {
		t.Helper()
		for _, service := range services {
			for _, id := range []grant.SessionID{"s-1", "s-2"} {
				if status, err := b.web(id, service); tunnel.CodeOf(err) != tunnel.CodeRefusedByDevice {
					t.Errorf("%s, %s: %d, %v", when, service, status, err)
				}
			}
		}
	}
	refused("nobody has asked", webService, "tcp", "ssh")
	if _, err := b.pbx().Remote(b.ctx, b.ccc.sign(b.ccc.remoteRequest("s-1"))); wire.CodeOf(err) != wire.CodeRemoteOff {
		t.Errorf("switched off: %v", err)
	}
	if err := b.setSwitches(func(s *state.Switches) error { s.Remote = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if st := b.ask(b.ccc.remoteRequest("s-1")); st != grant.Pending {
		t.Fatal(st)
	}
	refused("while it waits", webService, "tcp", "ssh")

	gateway := ara.Client{HTTP: ara.HTTPClient(func(context.Context) (net.Conn, error) { return b.open("s-1", ara.ServiceName) })}
	states, watched := make(chan grant.State, 100), make(chan error, 1)
	go func() { watched <- gateway.Watch(b.ctx, func(s ara.Status) { states <- s.State }) }()
	if s := <-states; s != grant.Pending {
		t.Error(s)
	}
	pin, err := b.Remote().NewPIN(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.PIN(b.ctx, pin); err != nil {
		t.Fatal(err)
	}
	if s := <-states; s != grant.Active {
		t.Error(s)
	}
	if status, err := b.web("s-1", webService); err != nil || status != http.StatusOK {
		t.Errorf("consented: %d, %v", status, err)
	}
	refused("another service", "tcp", "ssh")
	if status, err := b.web("s-2", webService); tunnel.CodeOf(err) != tunnel.CodeRefusedByDevice {
		t.Errorf("another session: %d, %v", status, err)
	}

	// A call that is open is cut, though nobody but the PBX does anything.
	c, err := b.open("s-1", webService)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /login HTTP/1.1\r\nHost: pbx\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if err := b.setSwitches(func(s *state.Switches) error { s.Remote = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); tunnel.CodeOf(err) != tunnel.CodeRefusedByDevice {
		t.Errorf("switched off: %v", err)
	}
	if s := <-states; s != grant.Ended {
		t.Error(s)
	}
	if err := <-watched; err != nil {
		t.Error(err)
	}
	refused("after the end", webService, "tcp", "ssh")
	b.until("the end is reported", func() bool { _, ok := b.over(); return ok })
	if r, _ := b.over(); r.Session != "s-1" || r.Cause != grant.CauseSwitch || r.Consent != wire.ConsentPIN || r.BytesIn == 0 || r.BytesOut < 1000 {
		t.Errorf("%+v", r)
	}
}

// TestRemoteTargets: what is on the list is reached, the PBX's own pages not as if from
// its network.
func TestRemoteTargets(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan error, 1) // how it has ended for the target
	background(t, "echo", func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = echo.Close() })()
		var wg sync.WaitGroup
		defer wg.Wait()
		for {
			c, err := echo.Accept()
			if err != nil {
				return nil
			}
			wg.Go(func() {
				_, err := io.Copy(c, c)
				_ = c.Close()
				seen <- err
			})
		}
	})
	b := newTunnelBox(t, func(c *Config) {
		c.DialTarget = func(ctx context.Context, target remote.Target) (net.Conn, error) {
			if target.Address != "switch.example:22" {
				return remote.Dialer{}.Dial(ctx, target)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", echo.Addr().String())
		}
	})
	if err := b.setSwitches(func(s *state.Switches) error { s.Remote = true; return nil }); err != nil {
		t.Fatal(err)
	}
	err = b.setRemote(func(s *state.Remote) error {
		s.Targets = []remote.Target{{Name: "switch", Service: grant.SSH, Address: "switch.example:22"}, {Name: "local", Service: grant.TCP, Address: "localhost:22"}}
		s.Consent = state.ConsentAlways
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, f := range map[grant.SessionID]func(*wire.Remote){
		"s-ssh":   func(r *wire.Remote) { r.Service, r.Target = grant.SSH, "switch" },
		"s-local": func(r *wire.Remote) { r.Service, r.Target = grant.TCP, "local" },
		"s-web":   func(r *wire.Remote) { r.Service, r.Target = grant.TCP, remote.OwnWeb },
	} {
		if st := b.ask(b.ccc.remoteRequest(id, f)); st != grant.Active {
			t.Errorf("%s: %s", id, st)
		}
	}
	c, err := b.open("s-ssh", "ssh")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := <-seen; err != nil {
		t.Errorf("the target sees %v", err)
	}
	if status, err := b.web("s-local", "tcp"); tunnel.CodeOf(err) != tunnel.CodeTargetUnreachable {
		t.Errorf("loopback: %d, %v", status, err)
	}
	if status, err := b.web("s-web", "tcp"); err != nil || status != http.StatusOK {
		t.Errorf("own pages: %d, %v", status, err)
	}
	client := wire.HTTPClient(func(context.Context) (net.Conn, error) { return b.open("s-web", "tcp") })
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, "http://pbx/api/v1/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", first)
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	req, err = http.NewRequestWithContext(b.ctx, http.MethodDelete, "http://pbx/api/v1/remote/pin", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		req.AddCookie(c)
	}
	if resp, err = client.Do(req); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("from its own pages somebody far away may what only the local network may: %v, %v", resp, err)
	}
	resp.Body.Close()

	// A call to a target is cut, too, and that is no end for the target: with the consent,
	// and before, as soon as terminals are to be recorded, without the session.
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*state.Remote)
		after  grant.State
	}{
		{"recorded from now on", func(s *state.Remote) { s.Recording = key.Recipient().String() }, grant.Active},
		{"consent withdrawn", func(s *state.Remote) { s.Consent = state.ConsentAsk }, grant.Ended},
	} {
		open, err := b.open("s-ssh", "ssh")
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		if _, err := io.WriteString(open, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(open, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := b.setRemote(func(s *state.Remote) error { tt.change(s); return nil }); err != nil {
			t.Fatal(err)
		}
		_ = open.SetReadDeadline(time.Now().Add(30 * time.Second)) // or it waits for ever where nothing is cut
		if _, err := io.ReadAll(open); tunnel.CodeOf(err) != tunnel.CodeRefusedByDevice {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the target sees %v", tt.name, err)
		}
		if s, _ := b.Remote().Session("s-ssh"); s.State != tt.after {
			t.Errorf("%s: the session is %s", tt.name, s.State)
		}
	}
}

// TestGatewayWatches: the status of a session comes as long as the session runs, which is
// longer than the server lets other answers take.
func TestGatewayWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		b.pair(t)
		b.switchRemote(t, true)
		if _, err := b.askRemote(t, b.ccc.remoteRequest("s-1")); err != nil {
			t.Fatal(err)
		}
		srv := b.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.gateway.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), purposeKey{}, grant.SessionID("s-1").Purpose())))
		}))
		ctx, cancel := context.WithCancel(t.Context())
		line, done := make(chan net.Conn), make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(pipeListener{line, ctx}) }()
		c := ara.Client{HTTP: ara.HTTPClient(func(context.Context) (net.Conn, error) {
			here, there := net.Pipe()
			line <- there
			return here, nil
		})}
		time.AfterFunc(10*time.Minute, func() { _ = b.Remote().Allow("s-1", 20*time.Minute) })
		begin := time.Now()
		var last ara.Status
		if err := c.Watch(t.Context(), func(s ara.Status) { last = s }); err != nil {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if last.Cause != grant.CauseTime || time.Since(begin) != 30*time.Minute {
			t.Errorf("%+v after %s", last, time.Since(begin))
		}
		cancel()
		<-done
		_ = srv.Close()
	})
}

// TestConformanceAccess: who has signed in, and whom the administrator lets in.
func TestConformanceAccess(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	admin := b.logIn(t, "admin", first)
	for name, tt := range map[string]struct {
		status int
		change []func(*http.Request)
	}{
		"nobody":          {http.StatusSeeOther, nil},
		"signed in":       {http.StatusOK, []func(*http.Request){admin}},
		"gateway":         {http.StatusForbidden, []func(*http.Request){via(remoteName)}},
		"gateway, let in": {http.StatusOK, []func(*http.Request){remotely}},
		"control centre":  {http.StatusForbidden, []func(*http.Request){admin, via(cloudName)}},
		"another origin":  {http.StatusForbidden, []func(*http.Request){admin, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }}},
	} {
		body := string(make([]byte, 2*maxForm)) // a stream, not a form
		if w := b.ask("POST", conformance.Path+"upload", body, tt.change...); w.Code != tt.status {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// TestConformanceThroughTheTunnel: large bodies, a WebSocket, and events go through a call
// of the gateway, and are cut with it.
func TestConformanceThroughTheTunnel(t *testing.T) {
	t.Parallel()
	b := newTunnelBox(t)
	if err := b.setSwitches(func(s *state.Switches) error { s.Remote = true; return nil }); err != nil {
		t.Fatal(err)
	}
	b.ask(b.ccc.remoteRequest("s-1"))
	if err := b.Remote().Allow("s-1", 0); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return b.open("s-1", webService) },
		DisableKeepAlives: true,
	}}
	const size = 20_000_000
	pattern := make([]byte, size)
	conformance.Fill(pattern, 0)
	do := func(method, path string, body io.Reader) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(b.ctx, method, "http://pbx"+conformance.Path+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
		}
		return text
	}
	if text := do("POST", "upload", bytes.NewReader(pattern)); string(text) != `{"bytes":20000000,"intact":true}`+"\n" {
		t.Errorf("%s", text)
	}
	if !bytes.Equal(do("GET", "download?size=20000000", nil), pattern) {
		t.Error("the download differs")
	}
	ws, _, err := websocket.Dial(b.ctx, "http://pbx"+conformance.Path+"ws", &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // it has none
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if err := ws.Write(b.ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := ws.Read(b.ctx); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, "http://pbx"+conformance.Path+"clock?every=50", nil)
	if err != nil {
		t.Fatal(err)
	}
	events, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	if _, err := io.ReadFull(events.Body, make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	if s, _ := b.Remote().Session("s-1"); s.In < size || s.Out < size {
		t.Errorf("%d and %d bytes", s.In, s.Out)
	}
	begin := time.Now()
	if err := b.Remote().End("s-1", grant.CauseAdmin); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the end took %s", took)
	}
	if _, _, err := ws.Read(b.ctx); err == nil || b.ctx.Err() != nil {
		t.Errorf("the WebSocket goes on: %v", err)
	}
	if _, err := io.Copy(io.Discard, events.Body); tunnel.CodeOf(err) != tunnel.CodeRefusedByDevice {
		t.Errorf("the events go on: %v", err)
	}
}
