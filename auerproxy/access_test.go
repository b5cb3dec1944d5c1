package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// visitor is where a client of the test comes from: of the loopback network, but not an
// address that logs show.
const visitor = "127.77.66.55"

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// The whole program, logging everything: strangers, a client without a certificate, and
// one that may. Their address is in the sealed log, and in no file and no line beside it.
func TestAddressesAreInTheAccessLogOnly(t *testing.T) {
	t.Parallel()
	from, err := net.ResolveTCPAddr("tcp", visitor+":0")
	if err != nil {
		t.Fatal(err)
	}
	if l, err := net.ListenTCP("tcp", from); err != nil {
		t.Skipf("this system has no %s: %v", visitor, err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ca, dir, log := pkitest.New(t, identity.DefaultTrustDomain), t.TempDir(), new(lockedBuffer)
	cfg := defaultConfig()
	cfg.Region, cfg.Credentials = "DE", filepath.Join(dir, "credentials")
	creds := ca.CredentialsWith(ca.Issue(identity.Relay(identity.DefaultTrustDomain, "r1"), pkitest.Loopback()))
	if err := creds.Save(cfg.Credentials); err != nil {
		t.Fatal(err)
	}
	cfg.Log.Level, cfg.Output = "trace", log
	cfg.Admin.Listen = "unix:" + filepath.Join(dir, "admin.sock")
	cfg.AccessLog.Dir = filepath.Join(dir, "access")
	cfg.Relay.Listen, cfg.Relay.StateDir = "127.0.0.1:0", filepath.Join(dir, "state")
	if err := os.Mkdir(cfg.Relay.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, cfg) }()
	addr := relayAddress(t, cfg.Admin.Listen, done)

	dialer := &net.Dialer{LocalAddr: from}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "\x16 this is no hello, hello, hello, hello")
	_, _ = io.Copy(io.Discard, conn) // until the relay closes it
	_ = conn.Close()
	// One that is gone in the middle of its handshake: the error has its address.
	if conn, err = dialer.DialContext(ctx, "tcp", addr); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01")
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	ask := func(certs ...tls.Certificate) error {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: dialer.DialContext,
			TLSClientConfig: &tls.Config{RootCAs: creds.Pool(), ServerName: "localhost", Certificates: certs},
		}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return err
	}
	if err := ask(); err == nil {
		t.Error("a client without a certificate gets an answer")
	}
	if err := ask(ca.Credentials(identity.Service(identity.DefaultTrustDomain, "ccc")).Certificate()); err != nil {
		t.Errorf("a client with a certificate: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	got := map[accesslog.Class]int{}
	for r, err := range (accesslog.Reader{Dir: cfg.AccessLog.Dir}).Raw(time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Address == netip.MustParseAddr(visitor) && r.Service == "auerproxy" {
			got[r.Class]++
		}
	}
	// The request is refused, as it is no CONNECT.
	if got[accesslog.Refused] != 4 || len(got) != 1 {
		t.Errorf("records: %v, want four refusals", got)
	}
	if text := log.String(); strings.Contains(text, visitor) || !strings.Contains(text, "handshake failed") {
		t.Errorf("the log has the address, or the test does not make the relay log anything:\n%s", text)
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		for _, form := range []string{visitor, "127-77-66-55", "7f4d4237", "7f4d:4237", string([]byte{127, 77, 66, 55})} {
			if strings.Contains(strings.ToLower(string(text)), form) {
				t.Errorf("the address is in %s", path)
			}
		}
		return err
	})
	if err != nil || files < 6 {
		t.Errorf("control: %d files, %v", files, err)
	}
}

// relayAddress asks the admin listener until it answers.
func relayAddress(t *testing.T, admin string, done <-chan error) string {
	t.Helper()
	client := &adminClient{addr: admin}
	for begin := time.Now(); ; {
		var st relay.Status
		err := client.do(t.Context(), http.MethodGet, "/v1/status", nil, &st)
		if err == nil && st.Address != "" {
			return st.Address
		}
		select {
		case err := <-done:
			t.Fatalf("the program has ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("no answer: %v", err)
		}
	}
}
