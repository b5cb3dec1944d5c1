package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

const password = "p4ssw0rd-Ünïcode"

// sshServer is a target with a shell that says what it was told: the size of its terminal,
// and each line. "exit" ends it with 7, "much" has it write more than a page takes at
// once.
type sshServer struct {
	key ssh.Signer

	mu      sync.Mutex
	methods []string // guarded by mu; how clients wanted to sign in
}

func newSSH(t testing.TB, w *world) *sshServer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	s := &sshServer{}
	s.key, err = ssh.NewSignerFromKey(private)
	must(t, err)
	serveTarget(t, w, s.serve)
	return s
}

// serveTarget makes f the target of the PBX.
func serveTarget(t testing.TB, w *world, f func(net.Conn)) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); f(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	w.pbx.target.Store(&ln)
}

func (s *sshServer) named() []remote.Target {
	return []remote.Target{{Name: "shell", Service: grant.SSH, HostKeys: []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.key.PublicKey())))}}}
}

func (s *sshServer) serve(c net.Conn) {
	right := func(user, pass string) (*ssh.Permissions, error) {
		if user == "root" && pass == password {
			return nil, nil
		}
		return nil, errors.New("wrong")
	}
	note := func(how string) { s.mu.Lock(); defer s.mu.Unlock(); s.methods = append(s.methods, how) }
	cfg := &ssh.ServerConfig{
		PasswordCallback: func(m ssh.ConnMetadata, pass []byte) (*ssh.Permissions, error) {
			note("password")
			return right(m.User(), string(pass))
		},
		KeyboardInteractiveCallback: func(m ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			if m.User() == "password-only" {
				return nil, errors.New("not here")
			}
			note("keyboard")
			answers, err := ask("Token", "Two questions", []string{"Password: ", "Colour: "}, []bool{false, true})
			if err != nil || len(answers) != 2 || answers[1] != "blue" {
				return nil, errors.New("wrong")
			}
			return right(m.User(), answers[0])
		},
	}
	cfg.AddHostKey(s.key)
	conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(reqs)
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := range chans {
		ch, reqs, err := n.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { shellOf(ch, reqs) })
	}
}

func shellOf(ch ssh.Channel, reqs <-chan *ssh.Request) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ch.Close()
	for r := range reqs {
		switch r.Type {
		case "pty-req":
			n := binary.BigEndian.Uint32(r.Payload)
			size := r.Payload[4+n:]
			_, _ = fmt.Fprintf(ch, "%s %dx%d\r\n", r.Payload[4:4+n], binary.BigEndian.Uint32(size), binary.BigEndian.Uint32(size[4:]))
		case "window-change":
			_, _ = fmt.Fprintf(ch, "now %dx%d\r\n", binary.BigEndian.Uint32(r.Payload), binary.BigEndian.Uint32(r.Payload[4:]))
		case "shell":
			wg.Go(func() {
				defer ch.Close()
				line := ""
				for buf := make([]byte, 1024); ; {
					n, err := ch.Read(buf)
					if err != nil {
						return
					}
					line += string(buf[:n])
					text, rest, ok := strings.Cut(line, "\r")
					if !ok {
						continue
					}
					line = rest
					switch text {
					case "exit":
						_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{7}))
						return
					case "much":
						for range 64 {
							_, _ = ch.Write([]byte(strings.Repeat("0123456789abcdef", 1024)))
						}
						_, _ = io.WriteString(ch, "done\r\n")
					default:
						_, _ = io.WriteString(ch, "said "+text+"\r\n")
					}
				}
			})
		}
		if r.WantReply {
			_ = r.Reply(true, nil)
		}
	}
}

// openTo makes a session to a target that the PBX lets in.
func (w *world) openTo(service grant.Service, target string) (c *http.Client, origin string, id grant.SessionID) {
	w.t.Helper()
	id = grant.SessionID(fmt.Sprintf("s-%d", w.ids.Add(1)))
	w.pbx.set(id, remote.Status{State: grant.Active, Remaining: 3600})
	c = w.browser("http/1.1")
	tk := w.begin(c, id)
	g := w.grant(id, tk)
	g.Service, g.Target = service, target
	if resp := w.redeem(c, tk.label, w.sign(g)); resp.StatusCode != http.StatusSeeOther {
		w.t.Fatalf("redeem: %d", resp.StatusCode)
	}
	return c, w.origin(tk.label + "." + domain), id
}

// dial opens a WebSocket; status is that of a refusal.
func (w *world) ws(c *http.Client, at string, head http.Header) (ws *websocket.Conn, status int, why string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	w.t.Cleanup(cancel)
	ws, resp, err := websocket.Dial(ctx, at, &websocket.DialOptions{HTTPClient: c, HTTPHeader: head}) //nolint:bodyclose // it does that itself
	if err != nil {
		if resp == nil {
			w.t.Fatal(err)
		}
		return nil, resp.StatusCode, resp.Header.Get(flow.RefusedHeader)
	}
	w.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, 0, ""
}

// screen is the page of a terminal.
type screen struct {
	t   testing.TB
	ws  *websocket.Conn
	ctx context.Context
	all string // what it shows
}

func (w *world) screen(c *http.Client, origin string, head http.Header) *screen {
	w.t.Helper()
	ws, status, why := w.ws(c, origin+pathShell, head)
	if ws == nil {
		w.t.Fatalf("the terminal is refused: %d %s", status, why)
	}
	ws.SetReadLimit(1 << 20)
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	w.t.Cleanup(cancel)
	return &screen{t: w.t, ws: ws, ctx: ctx}
}

func (s *screen) say(m heard) {
	s.t.Helper()
	text, err := json.Marshal(m)
	must(s.t, err)
	must(s.t, s.ws.Write(s.ctx, websocket.MessageText, text))
}

func (s *screen) typed(text string) {
	s.t.Helper()
	must(s.t, s.ws.Write(s.ctx, websocket.MessageBinary, []byte(text)))
}

// until reads to a message of that type, and acknowledges what is shown.
func (s *screen) until(kind string) said {
	s.t.Helper()
	for {
		k, text, err := s.ws.Read(s.ctx)
		if err != nil {
			s.t.Fatalf("waiting for %s after %q: %v", kind, s.all, err)
		}
		if k == websocket.MessageBinary {
			s.all += string(text)
			s.say(heard{Type: "shown", Bytes: int64(len(text))})
			continue
		}
		var m said
		must(s.t, json.Unmarshal(text, &m))
		if m.Type == kind {
			return m
		}
		if m.Type == "end" {
			s.t.Fatalf("waiting for %s: %+v", kind, m)
		}
	}
}

// sees reads until the text is there.
func (s *screen) sees(want string) {
	s.t.Helper()
	for !strings.Contains(s.all, want) {
		k, text, err := s.ws.Read(s.ctx)
		if err != nil || k != websocket.MessageBinary {
			s.t.Fatalf("waiting for %q after %.200q: %s %v", want, s.all, text, err)
		}
		s.all += string(text)
		s.say(heard{Type: "shown", Bytes: int64(len(text))})
	}
}

// signIn answers both questions.
func (s *screen) signIn() {
	s.t.Helper()
	s.say(heard{Type: "login", User: "root", Columns: 100, Rows: 30})
	if k := s.until("key"); !k.Pinned || !strings.HasPrefix(k.Fingerprint, "SHA256:") {
		s.t.Fatalf("%+v", k)
	}
	a := s.until("ask")
	if len(a.Prompts) != 2 || a.Prompts[0].Echo || !a.Prompts[1].Echo || a.Text != "Token\nTwo questions" {
		s.t.Fatalf("%+v", a)
	}
	s.say(heard{Type: "answer", Answers: []string{password, "blue"}})
	s.until("ready")
}

// TestTerminal signs in, types UTF-8, changes the size, gets more output than may be on
// its way at once, and sees the exit status.
func TestTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	c, origin, _ := w.openTo(grant.SSH, "shell")
	if resp, _ := w.do(c, w.request("GET", origin+pathOpen, "")); resp.Header.Get("Location") != pathTerminal {
		t.Errorf("open leads to %q", resp.Header.Get("Location"))
	}
	resp, text := w.do(c, w.request("GET", origin+pathTerminal, "", func(r *http.Request) { r.Header.Set("Accept-Language", "fr") }))
	csp := resp.Header.Get("Content-Security-Policy")
	if resp.StatusCode != http.StatusOK || !strings.Contains(text, "Se connecter") || !strings.Contains(csp, "connect-src "+origin+own+"events wss"+origin[len("https"):]+pathShell+";") ||
		strings.Contains(csp, "script-src 'self'") || strings.Contains(strings.ReplaceAll(csp, "style-src-attr 'unsafe-inline'", ""), "unsafe") {
		t.Errorf("%d, %s, %.100s", resp.StatusCode, csp, text)
	}
	s := w.screen(c, origin, nil)
	s.signIn()
	s.sees("xterm-256color 100x30\r\n")
	s.typed("Grüße 日本\r")
	s.sees("said Grüße 日本\r\n")
	s.say(heard{Type: "size", Columns: 132, Rows: 43})
	s.sees("now 132x43\r\n")
	s.typed("much\r")
	s.sees("done\r\n")
	if n := strings.Count(s.all, "0123456789abcdef"); n != 64<<10 {
		t.Errorf("%d parts of %d came", n, 64<<10)
	}
	s.typed("exit\r")
	if e := s.until("end"); e.Reason != "exit" || e.Code == nil || *e.Code != 7 || e.Text != german.Terminal.Exit {
		t.Errorf("%+v", e)
	}
}

// TestTerminalWindow: a page that shows nothing gets no more than the window.
func TestTerminalWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	c, origin, _ := w.openTo(grant.SSH, "shell")
	s := w.screen(c, origin, nil)
	s.signIn()
	s.typed("much\r")
	got := 0
	for got <= outputWindow-flow.MaxMessage {
		_, text, err := s.ws.Read(s.ctx)
		must(t, err)
		got += len(text)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 200*time.Millisecond)
	defer cancel()
	for {
		_, text, err := s.ws.Read(ctx)
		if err != nil {
			break
		}
		if got += len(text); got > outputWindow {
			t.Fatalf("%d bytes came unacknowledged", got)
		}
	}
}

// TestTerminalPassword: a target that takes passwords only; a wrong one can be typed
// again, and too many end it.
func TestTerminalPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	target := newSSH(t, w)
	c, origin, _ := w.openTo(grant.SSH, "shell")

	// Without a key named by the PBX, the user decides.
	s := w.screen(c, origin, http.Header{"Accept-Language": {"en"}})
	s.say(heard{Type: "login", User: "password-only", Columns: 80, Rows: 24})
	if k := s.until("key"); k.Pinned {
		t.Errorf("%+v", k)
	}
	s.say(heard{Type: "trust"})
	for range maxTries {
		if a := s.until("ask"); len(a.Prompts) != 1 || a.Prompts[0].Echo || a.Prompts[0].Text != "Password (password-only@shell)" {
			t.Fatalf("%+v", a)
		}
		s.say(heard{Type: "answer", Answers: []string{password + "x"}})
	}
	if e := s.until("end"); e.Reason != "login" || e.Text != english.Terminal.Login {
		t.Errorf("%+v", e)
	}

	// A key that is another one ends it before anything is asked.
	w.pbx.mu.Lock()
	w.pbx.targets = newSSHKey(t)
	w.pbx.mu.Unlock()
	before := len(target.methods)
	s = w.screen(c, origin, http.Header{"Accept-Language": {"fr"}})
	s.say(heard{Type: "login", User: "root", Columns: 80, Rows: 24})
	if e := s.until("end"); e.Reason != "key" || e.Text != french.Terminal.HostKey {
		t.Errorf("%+v", e)
	}
	if len(target.methods) != before {
		t.Errorf("signs in at a target with another key: %q", target.methods)
	}
	// One that cannot be read is not taken for any.
	w.pbx.mu.Lock()
	w.pbx.targets[0].HostKeys = []string{"ssh-ed25519 AAAA"}
	w.pbx.mu.Unlock()
	s = w.screen(c, origin, nil)
	s.say(heard{Type: "login", User: "root", Columns: 80, Rows: 24})
	if e := s.until("end"); e.Reason != "key" {
		t.Errorf("%+v", e)
	}
}

func newSSHKey(t testing.TB) []remote.Target {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewSignerFromKey(private)
	must(t, err)
	return (&sshServer{key: key}).named()
}

// TestTerminalEnds: how the session ends is said in the language of the page.
func TestTerminalEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	for _, tt := range []struct {
		cause grant.Cause
		lang  string
		want  string
	}{
		{grant.CauseTime, "de", german.Terminal.Time},
		{grant.CauseAdmin, "en", english.Terminal.Admin},
		{grant.CauseSwitch, "fr", french.Terminal.Switch},
		{grant.CauseUser, "en", english.Terminal.ByUser},
		{grant.CauseRestart, "de", german.Terminal.Over},
	} {
		c, origin, id := w.openTo(grant.SSH, "shell")
		s := w.screen(c, origin, http.Header{"Accept-Language": {tt.lang}})
		s.signIn()
		w.pbx.set(id, remote.Status{State: grant.Ended, Cause: tt.cause})
		if e := s.until("end"); e.Reason != "over" || e.Text != tt.want {
			t.Errorf("%s: %+v", tt.cause, e)
		}
		if _, status, why := w.ws(c, origin+pathShell, nil); status != http.StatusForbidden || why != "ended" {
			t.Errorf("%s: afterwards: %d %s", tt.cause, status, why)
		}
	}
	// The target goes, the session does not.
	w.pbx.target.Store(nil)
	serveTarget(t, w, func(net.Conn) {})
	c, origin, _ := w.openTo(grant.SSH, "shell")
	s := w.screen(c, origin, nil)
	s.say(heard{Type: "login", User: "root", Columns: 80, Rows: 24})
	if e := s.until("end"); e.Reason != "gone" || e.Text != german.Terminal.Gone {
		t.Errorf("%+v", e)
	}
}

// TestTerminalLogin: the time to sign in counts until there is a shell, also where the
// target lets somebody in and says nothing more.
func TestTerminalLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *Config) { c.Timing.Login = time.Second })
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	serveTarget(t, w, func(c net.Conn) {
		cfg := &ssh.ServerConfig{NoClientAuth: true}
		cfg.AddHostKey(target.key)
		conn, _, reqs, err := ssh.NewServerConn(c, cfg)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		_ = conn.Wait()
	})
	c, origin, _ := w.openTo(grant.SSH, "shell")
	s := w.screen(c, origin, nil)
	s.say(heard{Type: "login", User: "root", Columns: 80, Rows: 24})
	if e := s.until("end"); e.Reason != "login" || e.Text != german.Terminal.Login {
		t.Errorf("%+v", e)
	}
}

// TestTerminalIdle: a terminal that nobody uses ends.
func TestTerminalIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *Config) { c.Timing.FlowIdle = 500 * time.Millisecond })
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	c, origin, _ := w.openTo(grant.SSH, "shell")
	s := w.screen(c, origin, nil)
	s.say(heard{Type: "login", User: "root", Columns: 80, Rows: 24})
	if e := s.until("end"); e.Reason != "idle" || e.Text != german.Terminal.Idle {
		t.Errorf("%+v", e)
	}
}

func FuzzHeard(f *testing.F) {
	f.Add([]byte(`{"type":"login","user":"root","columns":80,"rows":24}`))
	f.Add([]byte(`{"type":"answer","answers":["x"]}`))
	f.Add([]byte(`{"type":"shown","bytes":9}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseHeard(text)
		if err == nil && (m.Type == "size" || m.Type == "login") && !m.sized() {
			t.Errorf("%+v", m)
		}
	})
}
