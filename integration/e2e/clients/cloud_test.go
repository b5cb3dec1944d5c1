package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial/dialtest"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const (
	td     = identity.DefaultTrustDomain
	serial = identity.Serial("0123456789")
	other  = identity.Serial("0123456790")
	// offline is nobody's serial.
	offline = identity.Serial("9999999999")
)

// patience bounds every wait; it is far more than anything here takes, also on a
// machine that has other work to do.
const patience = 5 * time.Minute

// cloud is a relay, its devices, and the credentials of one caller on disk.
type cloud struct {
	*dialtest.Net
	t   *testing.T
	ctx context.Context //nolint:containedctx // the life of the test's processes
	// creds is the credentials directory of service/helpdesk.
	creds string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c := &cloud{Net: dialtest.New(t, 1), t: t, ctx: ctx}
	c.creds = filepath.Join(t.TempDir(), "helpdesk")
	if err := c.CA.Write(c.creds, identity.Service(td, "helpdesk")); err != nil {
		t.Fatal(err)
	}
	return c
}

// relay is the relay's address.
func (c *cloud) relay() string { return c.Relays[0].Addr }

func (c *cloud) cert() string  { return filepath.Join(c.creds, enrol.CertFile) }
func (c *cloud) key() string   { return filepath.Join(c.creds, enrol.KeyFile) }
func (c *cloud) roots() string { return filepath.Join(c.creds, enrol.RootsFile) }

// clientTLS is the caller's side of TLS with the relay, and with a device.
func (c *cloud) clientTLS() *tls.Config {
	c.t.Helper()
	creds, err := enrol.LoadCredentials(c.creds)
	if err != nil {
		c.t.Fatal(err)
	}
	return &tls.Config{RootCAs: creds.Pool(), Certificates: []tls.Certificate{creds.Certificate()}, MinVersion: tls.VersionTLS13}
}

// device starts an agent with services that it forwards.
func (c *cloud) device(s identity.Serial, transport string, services ...agent.Service) {
	c.t.Helper()
	c.Device(s, nil, func(cfg *agent.Config) {
		cfg.Transport = transport
		cfg.Services = services
	})
}

// deviceURL is a page of a device.
func deviceURL(s identity.Serial, path string) string {
	return "https://" + identity.Device(td, s).DNSName() + path
}

// serveHTTP serves a handler for a device to forward to, and gives the target.
func (c *cloud) serveHTTP(h http.Handler) (target string) {
	c.t.Helper()
	ln := c.listen()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln) // ends with Close
	}()
	c.t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return "tcp:" + ln.Addr().String()
}

func (c *cloud) listen() net.Listener {
	c.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// command is a program that ends with the test: it gets SIGTERM, and is killed if
// that does not help.
func (c *cloud) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// daemon starts a program that runs until the test ends, and gives its process.
// What it says is logged if the test fails.
func (c *cloud) daemon(cmd *exec.Cmd) *process {
	c.t.Helper()
	p := &process{done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p.cmd = cmd
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-p.done
			c.t.Errorf("%s ignores SIGTERM", filepath.Base(cmd.Path))
		}
		if c.t.Failed() {
			log := p.log.String()
			c.t.Logf("%s says:\n%s", filepath.Base(cmd.Path), log[max(0, len(log)-4096):])
		}
	})
	return p
}

// process is a running daemon.
type process struct {
	cmd  *exec.Cmd
	log  output
	done chan struct{} // closed when it has ended
	err  error         // why, after done
}

// await polls until ready says yes; a process that ends before fails the test.
func (p *process) await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ready() {
		select {
		case <-tick.C:
		case <-p.done:
			t.Fatalf("%s ended with %v before %s:\n%s", filepath.Base(p.cmd.Path), p.err, what, p.log.String())
		case <-end:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// output keeps what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// result is what a program left behind.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program to its end.
func (c *cloud) run(cmd *exec.Cmd) result {
	c.t.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		c.t.Fatalf("%s: %v\n%s", cmd, err, errs.String())
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// good runs a program that must succeed, and gives what it wrote.
func (c *cloud) good(cmd *exec.Cmd) string {
	c.t.Helper()
	r := c.run(cmd)
	if r.code != 0 {
		c.t.Fatalf("%s: exit code %d\n%s%s", cmd, r.code, r.stderr, r.stdout)
	}
	return r.stdout
}

// writeFile writes n bytes of r, and puts their SHA-256 into sum.
func writeFile(path string, r io.Reader, n int64, sum *string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), r, n)
	*sum = hex.EncodeToString(h.Sum(nil))
	return errors.Join(err, f.Close())
}

// fileSum is the SHA-256 of a file.
func fileSum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// rate says how fast n bytes went.
func rate(n int64, took time.Duration) string {
	return fmt.Sprintf("%d MiB in %.2fs, %.0f MiB/s", n>>20, took.Seconds(), float64(n)/(1<<20)/took.Seconds())
}
