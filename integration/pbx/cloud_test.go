package pbx

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const (
	td     = identity.DefaultTrustDomain
	serial = identity.Serial("0123456789")
	first  = "first-password"
)

// fakeCCC is a control centre in memory: what of it a PBX sees, and no more.
type fakeCCC struct {
	t     *testing.T
	ca    *pkitest.CA
	creds *enrol.Credentials
	line  chan net.Conn

	mu       sync.Mutex // guards what follows
	down     bool       // nothing gets through
	loseAcks int        // completions whose answer is lost
	refuse   *wire.Problem
	offers   map[wire.OfferID]*fakeOffer
	pairing  *fakePairing // alive
	epoch    uint64
	received []string // requests, as "complete"
	syncs    []wire.Sync
	tombs    []wire.Tombstone // that came by sync
	declined []wire.Declined
	nextSync int64
}

type fakeOffer struct {
	wire.Offer
	used bool
}

type fakePairing struct {
	id         wire.PairingID
	digest     [32]byte
	user, pass string
	version    int64
	ack        string
}

func newFakeCCC(t *testing.T, ca *pkitest.CA) *fakeCCC {
	t.Helper()
	c := &fakeCCC{t: t, ca: ca, creds: ca.Credentials(identity.Service(td, "ccc")), line: make(chan net.Conn), offers: make(map[wire.OfferID]*fakeOffer)}
	srv := &http.Server{Handler: c.handler()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(pipeListener{c.line, t.Context()})
	}()
	t.Cleanup(func() {
		// A connection with an answer that was not read lingers for half a second.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = srv.Shutdown(ctx) // what still runs then is closed
		_ = srv.Close()
		<-done
	})
	return c
}

// handler is what a PBX calls.
func (c *fakeCCC) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+wire.PathComplete, wire.Handle(0, c.complete))
	mux.Handle("POST "+wire.PathDeclined, wire.Handle(0, c.takeDeclined))
	mux.Handle("POST "+wire.PathSync, wire.Handle(0, c.sync))
	return mux
}

// pipeListener gives connections of a channel.
type pipeListener struct {
	line chan net.Conn
	ctx  context.Context
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.line:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// dial is the PBX's way here.
func (c *fakeCCC) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	down := c.down
	c.mu.Unlock()
	if down {
		return nil, errors.New("no tunnel")
	}
	here, there := net.Pipe()
	select {
	case c.line <- there:
		return here, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *fakeCCC) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *fakeCCC) count(what string) (n int) {
	c.set(func() {
		for _, r := range c.received {
			if r == what {
				n++
			}
		}
	})
	return n
}

func (c *fakeCCC) complete(_ context.Context, m wire.Complete) (wire.AckBody, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, "complete")
	if c.refuse != nil {
		return wire.AckBody{}, c.refuse
	}
	if p := c.pairing; p != nil && p.digest == m.Digest() {
		return c.answer(p)
	}
	o := c.offers[m.Offer]
	if o == nil || o.used {
		return wire.AckBody{}, wire.NewProblem(wire.CodeOfferVoid, "")
	}
	proof := wire.Proof{Offer: o.ID, Serial: o.Serial, NonceCCC: o.Nonce, NoncePBX: m.NoncePBX, User: m.User, Password: m.Password}
	if !wire.Proves(o.Token, proof, m.Proof) {
		return wire.AckBody{}, wire.NewProblem(wire.CodeRefused, "")
	}
	if c.pairing != nil {
		return wire.AckBody{}, wire.NewProblem(wire.CodeAlreadyPaired, "")
	}
	o.used = true
	c.epoch++
	p := &fakePairing{
		id: wire.PairingID(fmt.Sprintf("pairing-%d", c.epoch)), digest: m.Digest(), version: m.Version,
		user: m.User.Reveal(), pass: m.Password.Reveal(),
	}
	p.ack = c.sign(wire.Ack{Pairing: p.id, Offer: o.ID, Serial: o.Serial, Epoch: c.epoch, At: time.Now().UTC()})
	c.pairing = p
	return c.answer(p)
}

// answer acknowledges, or loses the answer. mu is held.
func (c *fakeCCC) answer(p *fakePairing) (wire.AckBody, error) {
	if c.loseAcks > 0 {
		c.loseAcks--
		return wire.AckBody{}, wire.NewProblem(wire.CodeInternal, "the answer is lost")
	}
	return wire.AckBody{Ack: p.ack}, nil
}

func (c *fakeCCC) takeDeclined(_ context.Context, d wire.Declined) (wire.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, "declined")
	c.declined = append(c.declined, d)
	return wire.Empty{}, nil
}

func (c *fakeCCC) sync(_ context.Context, m wire.Sync) (wire.SyncReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, "sync")
	c.syncs = append(c.syncs, m)
	reply := wire.SyncReply{NextSync: c.nextSync}
	for _, jws := range m.Tombstones {
		var t wire.Tombstone
		if err := wire.Verify(c.creds, time.Now(), identity.Device(td, serial), jws, &t); err != nil {
			c.t.Errorf("tombstone: %v", err)
			continue
		}
		c.tombs = append(c.tombs, t)
		if c.pairing != nil && c.pairing.id == t.Pairing {
			c.pairing = nil
		}
		reply.Acks = append(reply.Acks, wire.TombstoneAck{Pairing: t.Pairing})
	}
	var have wire.PairingID
	if c.pairing != nil {
		have = c.pairing.id
	}
	switch {
	case m.Pairing == have:
		reply.Known = true
	case m.Pairing != "":
		reply.Tombstone = c.sign(wire.Tombstone{
			Pairing: m.Pairing, Serial: serial, Epoch: m.Epoch, Reason: wire.ReasonUnknownPairing, By: wire.SideCCC, At: time.Now().UTC(),
		})
	}
	if have != "" && m.Pairing != have && m.Version > c.pairing.version {
		c.pairing = nil // lost
	}
	for _, id := range m.Offers {
		if o := c.offers[id]; o == nil || o.used {
			reply.OffersVoid = append(reply.OffersVoid, id)
		}
	}
	return reply, nil
}

func (c *fakeCCC) sign(s wire.Statement) string {
	jws, err := wire.Sign(c.creds, s)
	if err != nil {
		c.t.Error(err)
	}
	return jws
}

// offer makes an offer and does not send it.
func (c *fakeCCC) offer(id wire.OfferID, change ...func(*wire.Offer)) *fakeOffer {
	now := time.Now().UTC()
	o := &fakeOffer{Offer: wire.Offer{
		ID: id, Serial: serial, Tenant: "Muster GmbH", Token: token.New(), Nonce: make([]byte, wire.NonceLen),
		IssuedAt: now, ExpiresAt: now.Add(24 * time.Hour), ExpiresIn: 24 * time.Hour, Brand: "auerswald",
	}}
	_, _ = rand.Read(o.Nonce)
	for _, f := range change {
		f(&o.Offer)
	}
	c.set(func() { c.offers[id] = o })
	return o
}

// client is the control centre's client for the PBX, over its handler.
func (c *fakeCCC) client(p *PBX) wire.PBX {
	return wire.PBX{HTTP: &http.Client{Transport: handlerTransport{p.pairing, identity.Service(td, "ccc")}}}
}

// handlerTransport calls a handler.
type handlerTransport struct {
	h  http.Handler
	by identity.ID
}

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, r.WithContext(withCaller(r.Context(), t.by)))
	return w.Result(), nil
}

// deliver sends an offer to the PBX and checks what it says.
func (c *fakeCCC) deliver(p *PBX, o *fakeOffer) error {
	jws, err := c.client(p).Offer(c.t.Context(), c.sign(o.Offer))
	if err != nil {
		return err
	}
	var got wire.Received
	if err := wire.Verify(c.creds, time.Now(), identity.Device(td, serial), jws, &got); err != nil {
		return err
	}
	if got.Offer != o.ID || got.Serial != serial {
		return fmt.Errorf("received %+v", got)
	}
	return nil
}

// box is a PBX under test with its control centre.
type box struct {
	*PBX
	ccc  *fakeCCC
	cfg  Config
	stop func()
}

// quick is a hasher whose work nobody notices.
var quick = password.NewHasher(password.Cheap, 4)

func noFacts() (facts.Facts, error) { return facts.Facts{}, errors.New("none") }

// newBox makes a PBX and runs it until the test ends.
func newBox(t *testing.T, change ...func(*Config)) *box {
	t.Helper()
	ca := pkitest.New(t, td)
	ccc := newFakeCCC(t, ca)
	b := &box{ccc: ccc, cfg: Config{
		Dir: t.TempDir(), Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first,
		Hasher: quick, Facts: noFacts, Dial: ccc.dial,
	}}
	for _, f := range change {
		f(&b.cfg)
	}
	b.start(t)
	t.Cleanup(func() { b.stop() })
	return b
}

// start makes the PBX anew from its state and runs it.
func (b *box) start(t *testing.T) {
	t.Helper()
	p, err := New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.PBX = p
	b.run(t)
}

// run runs the PBX until stop.
func (b *box) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// restart stops the PBX and starts it from its state.
func (b *box) restart(t *testing.T) {
	t.Helper()
	b.stop()
	b.start(t)
}

// pair pairs the box.
func (b *box) pair(t *testing.T) *fakeOffer {
	t.Helper()
	o := b.ccc.offer(wire.OfferID("offer-" + rand.Text()))
	if err := b.ccc.deliver(b.PBX, o); err != nil {
		t.Fatal(err)
	}
	if err := b.Enable(t.Context(), o.Token.Reveal(), o.ID); err != nil {
		t.Fatal(err)
	}
	return o
}

// users lists who there is.
func (b *box) users() (names []string) {
	for _, u := range b.State().Users {
		names = append(names, string(u.Name))
	}
	slices.Sort(names)
	return names
}

// ask sends a request to the pages and the API.
func (b *box) ask(method, path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, io.NopCloser(bytes.NewReader([]byte(body))))
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	return w
}

// logIn signs in at the API and gives what adds the cookies to a request.
func (b *box) logIn(t *testing.T, name, secret string) func(*http.Request) {
	t.Helper()
	w := b.ask("POST", "/api/v1/login", "", func(r *http.Request) { r.SetBasicAuth(name, secret) })
	if w.Code != http.StatusOK {
		t.Fatalf("log in as %s: %d %s", name, w.Code, w.Body)
	}
	return cookies(w)
}

// cookies gives what adds an answer's cookies to a request.
func cookies(w *httptest.ResponseRecorder) func(*http.Request) {
	return func(r *http.Request) {
		for _, c := range w.Result().Cookies() {
			r.AddCookie(c)
		}
	}
}

// replace gives what replaces settings or switches as a whole.
func replace[T any](v T) func(*T) error {
	return func(now *T) error { *now = v; return nil }
}

// basic gives what signs a request in.
func basic(name, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, secret) }
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
