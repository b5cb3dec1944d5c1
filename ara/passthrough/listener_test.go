package passthrough

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	domain = "pbx.test"
	serial = identity.Serial("0123456789")
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// certificate makes one for a name, and what trusts it.
func certificate(t testing.TB, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// world is a listener with a PBX behind it, and a server that has what is not the PBX's.
// Both say who they are.
type world struct {
	t        *testing.T
	ln       *Listener
	pbx, own *x509.CertPool
	work     sync.WaitGroup

	mu     sync.Mutex
	opened []string // guarded by mu: "open" or "challenge", with the serial
	refuse bool     // guarded by mu
	raw    []byte   // guarded by mu; what the server has read of what is no TLS
}

func start(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t}
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	pbx, pool := certificate(t, grant.PBXName(serial, domain))
	w.pbx = pool
	own, pool := certificate(t, "ara.test")
	w.own = pool
	open := func(kind string) func(context.Context, identity.Serial, netip.Addr) (net.Conn, error) {
		return func(_ context.Context, serial identity.Serial, from netip.Addr) (net.Conn, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.opened = append(w.opened, kind+" "+string(serial))
			if w.refuse || !from.IsLoopback() {
				return nil, errors.New("not now")
			}
			a, b := net.Pipe()
			w.serve(tls.Server(b, &tls.Config{Certificates: []tls.Certificate{pbx}, NextProtos: []string{challengeProtocol}, MinVersion: tls.VersionTLS12}), "pbx")
			return a, nil
		}
	}
	cfg := Config{Domain: domain, Open: open("open"), Challenge: open("challenge")}
	if change != nil {
		change(&cfg)
	}
	w.ln = New(cfg, inner)
	w.work.Go(func() {
		for {
			c, err := w.ln.Accept()
			if err != nil {
				return
			}
			w.serve(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}), "own")
		}
	})
	t.Cleanup(func() {
		must(t, w.ln.Close())
		w.work.Wait()
	})
	return w
}

// serve says who it is, and then what it is told.
func (w *world) serve(c *tls.Conn, who string) {
	w.work.Go(func() {
		defer func() { _ = c.Close() }()
		if err := c.HandshakeContext(context.Background()); err != nil {
			if bad, ok := errors.AsType[tls.RecordHeaderError](err); ok {
				w.mu.Lock()
				w.raw = bad.RecordHeader[:]
				w.mu.Unlock()
			}
			return
		}
		if _, err := io.WriteString(c, who); err == nil {
			_, _ = io.Copy(c, c)
		}
	})
}

// dial gives who answers a client.
func (w *world) dial(name string, roots *x509.CertPool, protos ...string) (*tls.Conn, string, error) {
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots, NextProtos: protos, MinVersion: tls.VersionTLS12}}
	c, err := d.DialContext(w.t.Context(), "tcp", w.ln.Addr().String())
	if err != nil {
		return nil, "", err
	}
	who := make([]byte, 3)
	_, err = io.ReadFull(c, who)
	w.t.Cleanup(func() { _ = c.Close() })
	return c.(*tls.Conn), string(who), err
}

func (w *world) calls() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.opened, ", ")
	w.opened = nil
	return s
}

func TestLead(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	name := grant.PBXName(serial, domain)
	for _, tt := range []struct {
		name   string
		roots  *x509.CertPool
		protos []string
		who    string // empty: refused
		calls  string
	}{
		{name, w.pbx, nil, "pbx", "open 0123456789"},
		{strings.ToUpper(name), w.pbx, nil, "pbx", "open 0123456789"},
		{name, w.pbx, []string{challengeProtocol}, "pbx", "challenge 0123456789"},
		// Who offers more than the challenge wants more, and needs a session.
		{name, w.pbx, []string{challengeProtocol, "http/1.1"}, "pbx", "open 0123456789"},
		{"ara.test", w.own, nil, "own", ""},
		{"ara.test", w.own, []string{challengeProtocol}, "own", ""},
		{"x" + domain, w.own, nil, "", ""}, // the server has another certificate
		{"s012345678." + domain, w.pbx, nil, "", ""},
		{"0123456789." + domain, w.pbx, nil, "", ""},
		{"a." + name, w.pbx, nil, "", ""},
		{domain, w.pbx, nil, "", ""},
	} {
		_, who, err := w.dial(tt.name, tt.roots, tt.protos...)
		if who != tt.who || (err == nil) != (tt.who != "") {
			t.Errorf("%s %q: %q, %v, want %q", tt.name, tt.protos, who, err, tt.who)
		}
		if got := w.calls(); got != tt.calls {
			t.Errorf("%s %q: calls %q, want %q", tt.name, tt.protos, got, tt.calls)
		}
	}
}

// TestRefused: whatever the reason is, the client gets the same alert; without a session
// nothing of its bytes gets anywhere.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.mu.Lock()
	w.refuse = true
	w.mu.Unlock()
	for _, name := range []string{grant.PBXName(serial, domain), "nobody." + domain} {
		_, _, err := w.dial(name, w.pbx)
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGarbage: what is no ClientHello gets to the server as it is, and none is opened for
// it; what is too long, or comes too slowly, is ended.
func TestGarbage(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *Config) { c.HelloBytes = 2048 })
	send := func(text []byte) (answer []byte) {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.ln.Addr().String())
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		_, _ = c.Write(text) // it may be ended before
		answer, _ = io.ReadAll(c)
		return answer
	}
	if got := send([]byte("GET / HTTP/1.1\r\nHost: pbx\r\n\r\n")); len(got) > 0 && got[0] != 21 {
		t.Errorf("the server says %q", got)
	}
	w.mu.Lock()
	if !bytes.Equal(w.raw, []byte("GET /")) {
		t.Errorf("the server got %q", w.raw)
	}
	w.mu.Unlock()
	// A hello of a length that it may have, and of which more comes than is read: a name
	// below the domain does not help.
	long := record(t, grant.PBXName(serial, domain), make([]string, 300)...)
	if len(long) < 2048 {
		t.Fatalf("%d bytes", len(long))
	}
	if got := send(long); len(got) > 0 {
		t.Errorf("too long: %q", got)
	}
	if got := w.calls(); got != "" {
		t.Errorf("opened: %s", got)
	}
	// The control: one that fits.
	if _, who, err := w.dial(grant.PBXName(serial, domain), w.pbx); who != "pbx" {
		t.Error(who, err)
	}
}

// record gives the first bytes of a client.
func record(t testing.TB, name string, protos ...string) []byte {
	t.Helper()
	for i := range protos {
		protos[i] = strings.Repeat("x", 100)
	}
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	go func() {
		_ = tls.Client(b, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protos, MinVersion: tls.VersionTLS12}).HandshakeContext(context.Background()) //nolint:gosec // nobody is reached
		_ = b.Close()
	}()
	head := make([]byte, 5)
	_, err := io.ReadFull(a, head)
	must(t, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(a, body)
	must(t, err)
	return append(head, body...)
}

// one is a listener with one connection.
type one struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *one) Close() error   { close(l.closed); return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlow: a hello that comes byte by byte is ended in time, and a connection of a
// certificate authority is, too.
func TestSlow(t *testing.T) {
	text := record(t, grant.PBXName(serial, domain))
	synctest.Test(t, func(t *testing.T) {
		inner := &one{make(chan net.Conn), make(chan struct{})}
		ln := New(Config{Domain: domain}, inner)
		client, server := net.Pipe()
		inner.conns <- server
		began := time.Now()
		var err error
		for i := 0; err == nil && i < len(text)-1; i++ {
			_, err = client.Write(text[i : i+1])
			time.Sleep(time.Second)
		}
		if took := time.Since(began); err == nil || took < 10*time.Second || took > 12*time.Second {
			t.Errorf("ended after %s: %v", took, err)
		}
		must(t, ln.Close())
		_ = client.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		ln := New(Config{Domain: domain}, &one{make(chan net.Conn), make(chan struct{})})
		client, server := net.Pipe()
		pbx, far := net.Pipe()
		began := time.Now()
		done := make(chan struct{})
		go func() { defer close(done); ln.join(server, far, true) }()
		go func() { _, _ = io.Copy(io.Discard, pbx) }()
		var err error
		for err == nil {
			_, err = client.Write([]byte{0})
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < challengeTime || took > challengeTime+2*time.Second {
			t.Errorf("a challenge was ended after %s", took)
		}
		<-done
		// And one that says more than a handshake.
		client, server = net.Pipe()
		pbx2, far := net.Pipe()
		done = make(chan struct{})
		go func() { defer close(done); ln.join(server, far, true) }()
		got := make(chan int64)
		go func() { n, _ := io.Copy(io.Discard, pbx2); got <- n }()
		n, err := io.Copy(client, io.LimitReader(zeros{}, 1<<20))
		if there := <-got; err == nil || there > challengeBytes {
			t.Errorf("%d bytes of a challenge got there, %d were sent: %v", there, n, err)
		}
		<-done
		must(t, ln.Close())
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzClientHello: whatever a client says, what was read is what it has said, and is
// bounded; a name that is found is led nowhere but to a PBX that it spells.
func FuzzClientHello(f *testing.F) {
	whole := record(f, grant.PBXName(serial, domain), "h2")
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{22, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, text []byte) {
		const limit = 4096
		info, read, err := hello(&said{r: bytes.NewReader(text)}, limit)
		if !bytes.HasPrefix(text, read) || len(read) > limit || info != nil && err != nil {
			t.Fatalf("%d bytes read, %v", len(read), err)
		}
		if info == nil {
			return
		}
		if serial, ours, ok := serialOf(info.ServerName, domain); ok && (!ours || !strings.EqualFold(info.ServerName, grant.PBXName(serial, domain))) {
			t.Fatalf("%q leads to %s", info.ServerName, serial)
		}
	})
}

// said is a connection on which somebody says something and ends.
type said struct {
	net.Conn
	r io.Reader
}

func (s *said) Read(p []byte) (int, error)  { return s.r.Read(p) }
func (s *said) RemoteAddr() net.Addr        { return &net.TCPAddr{} }
func (s *said) LocalAddr() net.Addr         { return &net.TCPAddr{} }
func (s *said) SetDeadline(time.Time) error { return nil }
func (s *said) Close() error                { return nil }
