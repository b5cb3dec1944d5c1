package servercert_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/miekg/dns"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

const (
	apex    = "ara.comtrexx.test"
	zone    = "comtrexx.test"
	keyName = "ara-names."
	secret  = "c2VjcmV0IG9mIGEgdGVzdCwgMzIgYnl0ZXMgbG9uZy4="
)

// nameServer is the primary of the zone: it answers by UDP and TCP, and takes updates that
// are signed.
type nameServer struct {
	t    *testing.T
	addr string

	mu      sync.Mutex
	txt     map[string][]string // guarded by mu; by name
	updates int                 // guarded by mu; that were taken
	refuse  bool                // guarded by mu
}

func startDNS(t *testing.T) *nameServer {
	t.Helper()
	n := &nameServer{t: t, txt: make(map[string][]string)}
	ln, pc := bothPorts(t)
	n.addr = ln.Addr().String()
	secrets := map[string]string{keyName: secret}
	for _, srv := range []*dns.Server{
		{Listener: ln, TsigSecret: secrets, Handler: n, MsgAcceptFunc: accept},
		{PacketConn: pc, TsigSecret: secrets, Handler: n, MsgAcceptFunc: accept},
	} {
		done := make(chan error, 1)
		up := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(up) }
		go func() { done <- srv.ActivateAndServe() }()
		<-up
		t.Cleanup(func() {
			if err := errors.Join(srv.Shutdown(), <-done); err != nil {
				t.Error(err)
			}
		})
	}
	return n
}

// bothPorts finds one that is free by TCP and UDP.
func bothPorts(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	var lc net.ListenConfig
	var last error
	for range 50 {
		ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := lc.ListenPacket(t.Context(), "udp", ln.Addr().String())
		if err == nil {
			return ln, pc
		}
		last = errors.Join(err, ln.Close())
	}
	t.Fatal(last)
	return nil, nil
}

// accept takes updates, too.
func accept(h dns.Header) dns.MsgAcceptAction {
	if opcode := int(h.Bits>>11) & 0xf; opcode == dns.OpcodeUpdate {
		return dns.MsgAccept
	}
	return dns.DefaultMsgAcceptFunc(h)
}

func (n *nameServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: zone + ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1}, Ns: "ns." + zone + ".", Mbox: "ops." + zone + ".", Minttl: 1}
	name := strings.ToLower(r.Question[0].Name)
	switch {
	case r.Opcode == dns.OpcodeUpdate && (r.IsTsig() == nil || w.TsigStatus() != nil):
		m.Rcode = dns.RcodeNotAuth
	case r.Opcode == dns.OpcodeUpdate && n.refuse:
		m.Rcode = dns.RcodeRefused
	case r.Opcode == dns.OpcodeUpdate:
		n.updates++
		for _, rr := range r.Ns {
			txt, ok := rr.(*dns.TXT)
			if !ok {
				m.Rcode = dns.RcodeRefused
				break
			}
			name, text := strings.ToLower(txt.Hdr.Name), strings.Join(txt.Txt, "")
			n.txt[name] = slices.DeleteFunc(n.txt[name], func(s string) bool { return s == text })
			if txt.Hdr.Class == dns.ClassINET {
				n.txt[name] = append(n.txt[name], text)
			}
		}
	case name == zone+"." && r.Question[0].Qtype == dns.TypeSOA:
		m.Answer = []dns.RR{soa}
	case r.Question[0].Qtype == dns.TypeTXT:
		for _, text := range n.txt[name] {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{text}})
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{soa}
	}
	if t := r.IsTsig(); t != nil && w.TsigStatus() == nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
	}
	_ = w.WriteMsg(m) // the client may be gone
}

// lookup is how the CA looks for proofs.
func (n *nameServer) lookup(name string) ([]string, error) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, n.addr)
	}}
	return r.LookupTXT(context.Background(), name)
}

// publicCA is an ACME server that offers dns-01, as public ones do.
func publicCA(t *testing.T, n *nameServer) (directory string, roots *x509.CertPool) {
	t.Helper()
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	issuer, key := ca.Server()
	db, err := store.OpenBolt(filepath.Join(t.TempDir(), "pki.db"))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := acmesrv.New(acmesrv.Config{
		Roles: []acmesrv.Role{{Name: "public", Names: []string{apex, "*." + apex}, WithoutEAB: true}},
		Roots: []*x509.Certificate{ca.Root}, Issuer: issuer, Key: key, DB: acmesrv.NewStorage(db), LookupTXT: n.lookup,
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(srv)
	cert := ca.Issue(identity.Service(identity.DefaultTrustDomain, "pki"), pkitest.Options{ExtraIPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	web.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	web.StartTLS()
	t.Cleanup(func() {
		web.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return web.URL + acmesrv.DirectoryPath("public"), ca.Roots()
}

func dnsConfig(t *testing.T, n *nameServer, key string) servercert.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tsig")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return servercert.Config{
		Mode: servercert.ModePublic, Domains: []string{apex, "*." + apex}, Email: "ops@comtrexx.test", Storage: filepath.Join(t.TempDir(), "names"),
		DNS01: servercert.DNS01{Provider: "rfc2136", Server: n.addr, Zone: zone, KeyName: keyName, KeyFile: configs.SecretFile(file)},
	}
}

// run runs a server until the test ends.
func run(t *testing.T, cfg servercert.Config) *servercert.Server {
	t.Helper()
	s, err := servercert.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// until waits until a condition holds.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !f() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(what)
		}
	}
}

// TestDNS01: a wildcard by a record in the zone, which is gone afterwards.
func TestDNS01(t *testing.T) {
	t.Parallel()
	n := startDNS(t)
	cfg := dnsConfig(t, n, secret)
	cfg.Directory, cfg.PublicRoots = publicCA(t, n)
	s := run(t, cfg)
	until(t, "no certificates", func() bool { return s.Remaining() > 0 })
	for name, want := range map[string]string{apex: apex, "one." + apex: "*." + apex, "two." + apex: "*." + apex, "a.b." + apex: "", zone: ""} {
		cert, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if want == "" {
			if err == nil {
				t.Errorf("%s has a certificate for %q", name, cert.Leaf.DNSNames)
			}
			continue
		}
		if err != nil || !slices.Equal(cert.Leaf.DNSNames, []string{want}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	until(t, "records stay in the zone", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.updates >= 4 && len(n.txt["_acme-challenge."+apex+"."]) == 0
	})
	// What is stored is used at the next start, the wildcard, too, without anybody.
	again, err := servercert.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := again.GetCertificate(&tls.ClientHelloInfo{ServerName: "three." + apex}); err != nil || cert.Leaf.DNSNames[0] != "*."+apex {
		t.Error(err)
	}
}

// TestDNS01Refused: what is wrong with an update is said, and what to look at.
func TestDNS01Refused(t *testing.T) {
	t.Parallel()
	n, refusing := startDNS(t), startDNS(t)
	refusing.refuse = true
	directory, roots := publicCA(t, n)
	for name, tt := range map[string]struct {
		server *nameServer
		key    string
		change func(*servercert.Config)
		want   string
	}{
		"another key":    {n, base64.StdEncoding.EncodeToString([]byte("another")), nil, "compare dns01.key_name, key_file and algorithm"},
		"another name":   {n, secret, func(c *servercert.Config) { c.DNS01.KeyName = "somebody" }, "compare dns01.key_name, key_file and algorithm"},
		"another policy": {refusing, secret, nil, "has to let the key ara-names. change TXT records"},
		"another zone":   {n, secret, func(c *servercert.Config) { c.DNS01.Zone = "example.net" }, "the name to be proven is in the zone comtrexx.test"},
	} {
		cfg := dnsConfig(t, tt.server, tt.key)
		cfg.Directory, cfg.PublicRoots = directory, roots
		cfg.Domains = cfg.Domains[1:]
		if tt.change != nil {
			tt.change(&cfg)
		}
		var log lines
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info})
		s := run(t, cfg)
		until(t, name+": nothing is said", func() bool { return strings.Contains(log.String(), "certificate not obtained") })
		if text := log.String(); !strings.Contains(text, tt.want) || strings.Contains(text, tt.key) {
			t.Errorf("%s: %s", name, text)
		}
		if s.Remaining() > 0 {
			t.Errorf("%s: there is a certificate", name)
		}
	}
}

// lines is a buffer for several goroutines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestDNS01Config: what a file may say.
func TestDNS01Config(t *testing.T) {
	t.Parallel()
	n := &nameServer{addr: "127.0.0.1:53"}
	for want, change := range map[string]func(*servercert.Config){
		"":                 func(*servercert.Config) {},
		"dns01.provider":   func(c *servercert.Config) { c.DNS01.Provider = "manual" },
		"dns01.server":     func(c *servercert.Config) { c.DNS01.Server = "" },
		"dns01.zone":       func(c *servercert.Config) { c.DNS01.Zone = "." },
		"dns01.key_name":   func(c *servercert.Config) { c.DNS01.KeyName = "" },
		"dns01.key_file":   func(c *servercert.Config) { c.DNS01.KeyFile = "" },
		"dns01.algorithm":  func(c *servercert.Config) { c.DNS01.Algorithm = "hmac-md5" },
		"dns01.wait":       func(c *servercert.Config) { c.DNS01.Wait = -1 },
		"dns01.provider: ": func(c *servercert.Config) { c.Mode = servercert.ModeInternal },
		"domains[1]":       func(c *servercert.Config) { c.DNS01 = servercert.DNS01{} },
		"domains[0]":       func(c *servercert.Config) { c.Domains[0] = "*.*." + apex },
	} {
		cfg := dnsConfig(t, n, secret)
		change(&cfg)
		if err := cfg.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for name, key := range map[string]string{"no base64": "secret!", "nothing": ""} {
		if _, err := servercert.New(dnsConfig(t, n, key)); err == nil || !strings.Contains(err.Error(), "dns01.key_file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
