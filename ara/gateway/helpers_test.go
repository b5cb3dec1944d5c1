package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	td     = identity.DefaultTrustDomain
	domain = "ara.test"
	cccURL = "https://ccc.comtrexx.test"
	serial = identity.Serial("0123456789")
	bound  = 30 * time.Second
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a gateway at a real listener, with one PBX and a control centre that issues
// grants.
type world struct {
	t      testing.TB
	g      *Gateway
	addr   string
	port   string
	roots  *x509.CertPool
	issuer *enrol.Credentials
	ca     *pkitest.CA
	pbx    *fakePBX
	ids    atomic.Int64
	end    func() // of Run, for which it waits
}

// newWorld starts one. The handler is the PBX's pages; nil: they say "hello".
func newWorld(t testing.TB, pages http.Handler, change func(*Config)) *world {
	t.Helper()
	ca := pkitest.New(t, td)
	w := &world{t: t, ca: ca, issuer: ca.Credentials(identity.Service(td, "ccc"))}
	if pages == nil {
		pages = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	}
	w.pbx = newPBX(t, pages)
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(t, err)
	w.addr = ln.Addr().String()
	_, w.port, _ = net.SplitHostPort(w.addr)
	cfg := Config{
		Domain: domain, CCCURL: cccURL, PublicPort: ln.Addr().(*net.TCPAddr).Port,
		Credentials: ca.Credentials(identity.Service(td, "ara")), Dial: w.pbx.dial,
	}
	cfg.Limits.BeginsPerMinute = 1000
	if change != nil {
		change(&cfg)
	}
	w.g, err = New(cfg)
	must(t, err)
	w.g.used = grant.NewUsed(time.Now().Add(-time.Minute), 0) // as one that runs for a while
	cert, roots := wildcard(t)
	w.roots = roots
	srv := w.g.HTTPServer(&tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{cert}})
	ctx, cancel := context.WithCancel(context.Background())
	var serves, runs sync.WaitGroup
	serves.Go(func() { _ = srv.ServeTLS(w.g.Limit(ln), "", "") })
	runs.Go(func() { _ = w.g.Run(ctx) })
	w.end = func() { cancel(); runs.Wait() }
	t.Cleanup(func() { cancel(); _ = srv.Close(); serves.Wait(); runs.Wait() })
	return w
}

// wildcard makes a certificate for the domain and everything below it.
func wildcard(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{domain, "*." + domain}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// browser is one with cookies, which does not follow redirects. proto is "h2" or
// "http/1.1".
func (w *world) browser(proto string) *http.Client {
	jar, err := cookiejar.New(nil)
	must(w.t, err)
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: proto == "h2",
		DisableCompression: true, ExpectContinueTimeout: bound,
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// origin is the address of a host, without a path.
func (w *world) origin(host string) string { return "https://" + host + ":" + w.port }

// request makes one.
func (w *world) request(method, address, body string, change ...func(*http.Request)) *http.Request {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	w.t.Cleanup(cancel)
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, r)
	must(w.t, err)
	for _, f := range change {
		f(req)
	}
	return req
}

// answer is what a browser got beside the body.
type answer struct {
	StatusCode, ProtoMajor int
	Header, Trailer        http.Header
}

// do makes a request, and gives the answer and its body.
func (w *world) do(c *http.Client, req *http.Request) (answer, string) {
	w.t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return answer{resp.StatusCode, resp.ProtoMajor, resp.Header, resp.Trailer}, string(text)
}

// ticket is what a browser has when it comes to the control centre.
type ticket struct{ label, browser string }

// begin takes a browser to the control centre.
func (w *world) begin(c *http.Client, id grant.SessionID) ticket {
	w.t.Helper()
	resp, text := w.do(c, w.request("GET", w.origin(domain)+"/begin?session="+string(id), ""))
	if resp.StatusCode != http.StatusSeeOther {
		w.t.Fatalf("begin: %d %s", resp.StatusCode, text)
	}
	resp, text = w.do(c, w.request("GET", resp.Header.Get("Location"), ""))
	if resp.StatusCode != http.StatusSeeOther {
		w.t.Fatalf(".ara/begin: %d %s", resp.StatusCode, text)
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	must(w.t, err)
	if got := to.Scheme + "://" + to.Host + to.Path; got != cccURL+"/remote/"+string(id) {
		w.t.Fatalf("the browser is sent to %s", got)
	}
	return ticket{to.Query().Get("label"), to.Query().Get("browser")}
}

// grant is what the control centre issues.
func (w *world) grant(id grant.SessionID, tk ticket) grant.Grant {
	var h [sha256.Size]byte
	b, err := base64.RawURLEncoding.DecodeString(tk.browser)
	must(w.t, err)
	copy(h[:], b)
	now := time.Now().Truncate(time.Second)
	return grant.Grant{
		ID: grant.ID(fmt.Sprintf("g-%d", w.ids.Add(1))), Audience: tk.label + "." + domain, Session: id, Serial: serial, Epoch: 1,
		Service: grant.Web, User: "Zoë Ångström", Tenant: "Müller & Söhne GmbH", Browser: h, Issued: now, Expires: now.Add(grant.MaxLife),
	}
}

func (w *world) sign(g grant.Grant) string {
	text, err := grant.Sign(w.issuer, g)
	must(w.t, err)
	return text
}

// redeem brings a grant.
func (w *world) redeem(c *http.Client, label, text string) answer {
	form := url.Values{"grant": {text}}.Encode()
	resp, _ := w.do(c, w.request("POST", w.origin(label+"."+domain)+pathRedeem, form, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "null") // of a page that tells no referrer
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}))
	return resp
}

// open makes a session that the PBX lets in, and gives its browser and origin.
func (w *world) open(proto string) (c *http.Client, origin string, id grant.SessionID) {
	w.t.Helper()
	id = grant.SessionID(fmt.Sprintf("s-%d", w.ids.Add(1)))
	w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 3600})
	c = w.browser(proto)
	tk := w.begin(c, id)
	if resp := w.redeem(c, tk.label, w.sign(w.grant(id, tk))); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != pathOpen {
		w.t.Fatalf("redeem: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	origin = w.origin(tk.label + "." + domain)
	if resp, text := w.do(c, w.request("GET", origin+pathOpen, "")); resp.Header.Get("Location") != "/" {
		w.t.Fatalf("open: %d to %q %s", resp.StatusCode, resp.Header.Get("Location"), text)
	}
	return c, origin, id
}

// fakePBX has the services web and remote on loopback.
type fakePBX struct {
	t       testing.TB
	web     net.Listener
	remote  net.Listener
	dials   atomic.Int64 // to web
	refuse  atomic.Pointer[tunnel.Error]
	target  atomic.Pointer[net.Listener]            // of the services tcp and ssh; nil: as web
	wiretap atomic.Pointer[func(net.Conn) net.Conn] // around a connection to web

	mu       sync.Mutex
	sessions map[grant.SessionID]remote.Status
	changed  chan struct{}
	calls    []string
	purposes map[string]grant.SessionID // by the client's address
	err      error
	targets  []remote.Target
	silent   chan struct{} // gets a value with each question for targets, which is not answered; nil: they are
	to       string        // the recipient of recordings
	tapes    chan []byte
}

func newPBX(t testing.TB, pages http.Handler) *fakePBX {
	p := &fakePBX{t: t, sessions: map[grant.SessionID]remote.Status{}, changed: make(chan struct{}), tapes: make(chan []byte, 8), purposes: map[string]grant.SessionID{}}
	serve := func(h http.Handler) net.Listener {
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		must(t, err)
		srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(ln) }()
		t.Cleanup(func() { _ = srv.Close(); <-done })
		return ln
	}
	p.web = serve(pages)
	p.remote = serve(remote.Handler(p, func(r *http.Request) (grant.SessionID, bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		id, ok := p.purposes[r.RemoteAddr]
		return id, ok
	}))
	return p
}

func (p *fakePBX) dial(ctx context.Context, to identity.Serial, service, purpose string) (net.Conn, error) {
	id, ok := grant.ParsePurpose(purpose)
	if to != serial || !ok {
		return nil, tunnel.Errorf(tunnel.CodeNotReachable, "no such PBX")
	}
	if e := p.refuse.Load(); e != nil {
		return nil, e
	}
	ln := p.web
	switch target := p.target.Load(); {
	case service == remote.ServiceName:
		ln = p.remote
	case target != nil && grant.Service(service).Targeted():
		ln = *target
		p.dials.Add(1)
	default:
		p.dials.Add(1)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.purposes[c.LocalAddr().String()] = id
	p.mu.Unlock()
	if tap := p.wiretap.Load(); tap != nil && service != remote.ServiceName {
		c = (*tap)(c)
	}
	return c, nil
}

// set puts a session into a state.
func (p *fakePBX) set(id grant.SessionID, s remote.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[id] = s
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *fakePBX) Watch(ctx context.Context, id grant.SessionID) (iter.Seq[remote.Status], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.sessions[id]; !ok {
		return nil, remote.ErrUnknown
	}
	return func(yield func(remote.Status) bool) {
		for {
			p.mu.Lock()
			s, changed := p.sessions[id], p.changed
			p.mu.Unlock()
			if !yield(s) || s.State.Final() {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

func (p *fakePBX) note(call string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
	return p.err
}

func (p *fakePBX) called() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, ", ")
}

func (p *fakePBX) PIN(_ context.Context, id grant.SessionID, pin string) error {
	if pin != "01234567" {
		return remote.ErrPIN
	}
	p.set(id, remote.Status{State: grant.Active, Remaining: 3600})
	return p.note("pin " + pin)
}

func (p *fakePBX) End(_ context.Context, id grant.SessionID) error {
	p.set(id, remote.Status{State: grant.Ended, Cause: grant.CauseUser})
	return p.note("end")
}

func (p *fakePBX) Extend(_ context.Context, _ grant.SessionID, minutes int) error {
	return p.note(fmt.Sprintf("extend %d", minutes))
}

func (p *fakePBX) Recipient(context.Context, grant.SessionID) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.to, nil
}

func (p *fakePBX) Record(_ context.Context, _ grant.SessionID, sealed io.Reader) error {
	if p.called() == "full" {
		return remote.ErrRecording
	}
	text, err := io.ReadAll(sealed)
	p.tapes <- text
	return err
}

func (p *fakePBX) Targets(ctx context.Context, _ grant.SessionID) ([]remote.Target, error) {
	p.mu.Lock()
	targets, silent := p.targets, p.silent
	p.mu.Unlock()
	if silent != nil {
		silent <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return targets, nil
}
