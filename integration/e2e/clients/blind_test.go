package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/integration/e2e/canary"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const serveConfig = `
region: DE
credentials: DIR/relay
relay:
  listen: 127.0.0.1:0
  state_dir: DIR/state
  drain: {deadline: 1s}
  policy:
    - {caller: service/helpdesk, target: device, services: ["*"], raw: true}
log: {level: trace, format: json}
admin: {listen: "unix:DIR/admin"}
`

// servedRelay is the real program in a process of its own.
type servedRelay struct {
	*process
	t     *testing.T
	state string // directory
	addr  string
	admin *http.Client
}

func startRelay(t *testing.T, ca *pkitest.CA) *servedRelay {
	t.Helper()
	dir := t.TempDir()
	if err := ca.Write(filepath.Join(dir, "relay"), identity.Relay(td, "r1")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "auerproxy.yaml")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(serveConfig, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c := &cloud{t: t, ctx: ctx}
	r := &servedRelay{t: t, state: filepath.Join(dir, "state"), process: c.daemon(c.command(auerproxy(t), "serve", "--config", config))}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	r.admin = &http.Client{Transport: transport, Timeout: patience}
	r.await(t, "the relay listens", func() bool {
		var st relay.Status
		text, err := r.ask("/v1/status")
		if err != nil || json.Unmarshal(text, &st) != nil {
			return false
		}
		r.addr = st.Address
		return r.addr != ""
	})
	return r
}

// ask asks the admin listener.
func (r *servedRelay) ask(path string) ([]byte, error) {
	resp, err := r.admin.Get("http://admin" + path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return text, err
}

// told is everything that the relay says to its operator.
func (r *servedRelay) told() []byte {
	r.t.Helper()
	out := []byte(r.log.String())
	for _, path := range []string{
		"/metrics", "/v1/status", "/v1/sessions", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1", "/debug/pprof/cmdline",
	} {
		text, err := r.ask(path)
		if err != nil {
			r.t.Errorf("%s: %v", path, err)
		}
		out = append(out, text...)
	}
	return out
}

// kept is everything that the relay has on disk.
func (r *servedRelay) kept() []byte {
	r.t.Helper()
	var out []byte
	err := filepath.WalkDir(r.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		out = append(append(out, path...), text...)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// memory looks for canaries in all of the process's memory, and gives the forms
// of each that are there.
func (r *servedRelay) memory(canaries ...canary.Canary) map[canary.Canary][]string {
	r.t.Helper()
	found := make(map[canary.Canary]map[string]bool)
	for _, c := range canaries {
		found[c] = make(map[string]bool)
	}
	size := 0
	err := readMemory(r.cmd.Process.Pid, func(chunk []byte) {
		size += len(chunk)
		for c, forms := range found {
			for _, form := range c.Found(r.t, func(f []byte) bool { return bytes.Contains(chunk, f) }) {
				forms[form] = true
			}
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if size < 1<<20 {
		r.t.Errorf("the process has %d bytes of memory", size)
	}
	out := make(map[canary.Canary][]string)
	for c, forms := range found {
		for form := range forms {
			out[c] = append(out[c], form)
		}
	}
	return out
}

// readMemory passes the writable memory of a process to f, in pieces that overlap.
func readMemory(pid int, f func(chunk []byte)) error {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return err
	}
	maps, err := proc.ProcMaps()
	if err != nil {
		return err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	const overlap = 1 << 10 // longer than any form of a canary
	buf := make([]byte, 4<<20)
	for _, m := range maps {
		if !m.Perms.Read || !m.Perms.Write {
			continue
		}
		from, to := int64(m.StartAddr), int64(m.EndAddr)
		for at := from; at < to; at += int64(len(buf)) - overlap {
			n, err := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			if n > 0 {
				f(buf[:n])
			}
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EIO) {
				return err
			}
		}
	}
	return nil
}

// TestBlindRelay looks for what runs through the real relay in its memory, log,
// metrics, admin answers and files: while a call is open, after it, and after the
// relay has stopped.
func TestBlindRelay(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the memory of another process is read from /proc")
	}
	ca := pkitest.New(t, td)
	r := startRelay(t, ca)
	answer := canary.New()
	var secrets []canary.Canary
	talker(t, r.addr, ca, "auto", answer.Message(t))
	caller := ca.Credentials(identity.Service(td, "helpdesk"))
	d, err := dial.New(dial.Config{Relays: []string{r.addr}, Credentials: caller})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })

	check := func(when string, canaries ...canary.Canary) {
		t.Helper()
		for c, forms := range r.memory(canaries...) {
			if len(forms) > 0 {
				t.Errorf("%s: %s is in the relay's memory: %q", when, c, forms)
			}
		}
	}
	for name, inner := range map[string]dial.Inner{"mux": dial.Mux, "tls": dial.TLS} {
		question := canary.New()
		secrets = append(secrets, question)
		call := r.call(d, inner, question)
		check(name+", open", question)
		if err := call.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(call); err != nil || len(got) != len(answer.Message(t)) {
			t.Fatalf("%s: the device answers %d bytes, %v", name, len(got), err)
		}
		check(name+", answered", question, answer)
		_ = call.Close()
	}
	check("over", append(secrets, answer)...)

	// The control: the relay holds what it can read, and the search finds it.
	raw := canary.New()
	call := r.call(d, dial.Raw, raw)
	if forms := r.memory(raw)[raw]; len(forms) != len(raw.Forms(t)) {
		t.Errorf("control: without end-to-end TLS the relay's memory holds only %q", forms)
	}
	_ = call.Close()
	// The relay neither says nor keeps even what it can read.
	everything := append(secrets, answer, raw)
	told := r.told()
	r.stop()
	for where, text := range map[string][]byte{"log and admin listener": append(told, r.log.String()...), "state directory": r.kept()} {
		if !bytes.Contains(text, []byte("device/"+serial)) {
			t.Errorf("control: the device is not in the %s", where)
		}
		for _, c := range everything {
			if forms := c.Found(t, func(f []byte) bool { return bytes.Contains(text, f) }); forms != nil {
				t.Errorf("%s is in the %s: %q", c, where, forms)
			}
		}
	}
}

// call opens a call and sends a canary; it returns when that must have passed the
// relay.
func (r *servedRelay) call(d *dial.Dialer, inner dial.Inner, c canary.Canary) *dial.Conn {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call, err := d.Open(ctx, dial.Call{Target: d.Device(serial), Service: "talk", Inner: inner})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = call.Close() })
	before := r.sent()
	if _, err := call.Write(c.Message(r.t)); err != nil {
		r.t.Fatal(err)
	}
	r.await(r.t, "the relay has passed the question on", func() bool { return r.sent() >= before+int64(len(c.Message(r.t))) })
	return call
}

// sent is how many bytes the relay has sent to the device.
func (r *servedRelay) sent() (n int64) {
	r.t.Helper()
	text, err := r.ask("/v1/sessions")
	var list []relay.SessionInfo
	if err = errors.Join(err, json.Unmarshal(text, &list)); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range list {
		n += s.Sent
	}
	return n
}

// stop stops the relay.
func (r *servedRelay) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("the relay does not stop")
	}
	if r.err != nil {
		r.t.Errorf("the relay ends with %v", r.err)
	}
}
