package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestRecording: with the administrator's key, what the terminal shows is sealed to it and
// handed to the PBX, nothing that is typed unseen is in it, and nobody gets around it.
// Without, there is none.
func TestRecording(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	use := func(lang string) {
		t.Helper()
		c, origin, _ := w.openTo(grant.SSH, "shell")
		w.pbx.mu.Lock()
		wanted := w.pbx.to != ""
		w.pbx.mu.Unlock()
		_, page := w.do(c, w.request("GET", origin+pathTerminal, "", func(r *http.Request) { r.Header.Set("Accept-Language", lang) }))
		if strings.Contains(page, `id="recorded" class="notice" role="note" hidden`) == wanted {
			t.Errorf("recorded: %t, but the page says otherwise before: %s", wanted, page)
		}
		s := w.screen(c, origin, nil)
		s.say(heard{Type: "login", User: "root", Columns: 100, Rows: 30})
		if wanted {
			s.until("recorded")
		}
		s.until("ask")
		s.say(heard{Type: "answer", Answers: []string{password, "blue"}})
		s.until("ready")
		s.typed("Grüße 日本\r")
		s.sees("said Grüße 日本\r\n")
		s.say(heard{Type: "size", Columns: 132, Rows: 43})
		s.sees("now 132x43\r\n")
		s.typed("exit\r")
		s.until("end")
		if ws, status, why := w.ws(c, origin+flow.PathConnect, nil); (ws == nil) != wanted || wanted && (status != http.StatusForbidden || why != "recorded") {
			t.Errorf("recorded: %t, a flow: %d %s", wanted, status, why)
		}
	}
	use("en")
	if len(w.pbx.tapes) > 0 {
		t.Error("a recording without the administrator's key")
	}

	key, err := age.GenerateX25519Identity()
	must(t, err)
	w.pbx.mu.Lock()
	w.pbx.to = key.Recipient().String()
	w.pbx.mu.Unlock()
	use("fr")
	sealed := <-w.pbx.tapes
	if bytes.Contains(sealed, []byte("said")) {
		t.Error("the recording is not sealed")
	}
	open, err := age.Decrypt(bytes.NewReader(sealed), key)
	must(t, err)
	text, err := io.ReadAll(open)
	must(t, err)
	if strings.Contains(string(text), password) {
		t.Error("the password is in the recording")
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var head struct{ Version, Width, Height int }
	must(t, json.Unmarshal([]byte(lines[0]), &head))
	if head.Version != 2 || head.Width != 100 || head.Height != 30 {
		t.Errorf("%s", lines[0])
	}
	shown, sizes := "", ""
	for _, l := range lines[1:] {
		var e [3]any
		must(t, json.Unmarshal([]byte(l), &e))
		switch e[1] {
		case "o":
			shown += e[2].(string)
		case "r":
			sizes += e[2].(string)
		}
	}
	if shown != "xterm-256color 100x30\r\nsaid Grüße 日本\r\nnow 132x43\r\n" || sizes != "132x43" {
		t.Errorf("%q, %q", shown, sizes)
	}

	// A PBX that takes none: no terminal either.
	must(t, w.pbx.note("full"))
	c, origin, _ := w.openTo(grant.SSH, "shell")
	s := w.screen(c, origin, nil)
	s.say(heard{Type: "login", User: "root", Columns: 100, Rows: 30})
	for {
		k := s.untilAny()
		if k.Type == "ask" {
			s.say(heard{Type: "answer", Answers: []string{password, "blue"}})
		}
		if k.Type == "end" {
			if k.Reason != "recording" || k.Text != german.Terminal.Unrecorded {
				t.Errorf("%+v", k)
			}
			break
		}
	}
	if strings.Contains(s.all, "xterm") {
		t.Errorf("shown though it is not recorded: %q", s.all)
	}
}

// untilAny reads to the next message.
func (s *screen) untilAny() said {
	s.t.Helper()
	for {
		_, text, err := s.ws.Read(s.ctx)
		must(s.t, err)
		var m said
		if json.Unmarshal(text, &m) == nil && m.Type != "" {
			return m
		}
		s.all += string(text)
	}
}

// TestNothingToRecord: who cannot sign in at the target has the PBX store nothing, however
// often he tries.
func TestNothingToRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	target := newSSH(t, w)
	w.pbx.targets = target.named()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	w.pbx.mu.Lock()
	w.pbx.to = key.Recipient().String()
	w.pbx.mu.Unlock()
	for _, right := range []bool{false, true} {
		c, origin, _ := w.openTo(grant.SSH, "shell")
		s := w.screen(c, origin, nil)
		s.say(heard{Type: "login", User: "root", Columns: 80, Rows: 24})
		s.until("recorded")
		if right {
			s.until("ask")
			s.say(heard{Type: "answer", Answers: []string{password, "blue"}})
			s.until("ready")
			s.typed("exit\r")
			s.until("end")
			<-w.pbx.tapes // the control
			continue
		}
		for k := s.untilAny(); k.Type != "end"; k = s.untilAny() {
			if k.Type == "ask" {
				s.say(heard{Type: "answer", Answers: make([]string, len(k.Prompts))})
			}
		}
		if n := len(w.pbx.tapes); n != 0 {
			t.Errorf("%d recordings of nobody", n)
		}
	}
}

// TestRecordingRefused: that the PBX takes no recording is known before there is anything
// to record.
func TestRecordingRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	key, err := age.GenerateX25519Identity()
	must(t, err)
	_, origin, _ := w.openTo(grant.SSH, "shell")
	s := w.g.sessions.session(labelOf(t, origin))
	begin := func() (*recording, error) {
		return s.record(t.Context(), key.Recipient().String(), heard{Columns: 80, Rows: 24}, func() {})
	}
	r, err := begin()
	must(t, err)
	must(t, r.finish())
	<-w.pbx.tapes
	must(t, w.pbx.note("full"))
	if _, err := begin(); err == nil {
		t.Error("begun though the PBX takes none")
	}
}

// narrow is a connection whose far side takes so many bytes, and reads nothing after.
type narrow struct {
	net.Conn
	room int
}

func (c *narrow) Write(p []byte) (int, error) {
	if c.room -= len(p); c.room >= 0 {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TestRecordingNobodyReads: a PBX that reads nothing, or no more, keeps no terminal from
// its end.
func TestRecordingNobodyReads(t *testing.T) {
	t.Parallel()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	for _, room := range []int{0, 4096} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			s := &session{pbx: remote.Client{HTTP: remote.HTTPClient(func(context.Context) (net.Conn, error) { return &narrow{near, room}, nil })}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			r, err := s.record(ctx, key.Recipient().String(), heard{Columns: 80, Rows: 24}, func() {})
			if room == 0 {
				if took := time.Since(start); err == nil || took != time.Minute {
					t.Errorf("begun after %s: %v", took, err)
				}
				return
			}
			must(t, err)
			must(t, r.output(bytes.Repeat([]byte("x"), 32<<10))) // less than age keeps for itself
			start = time.Now()
			if err := r.finish(); err == nil || time.Since(start) != remote.RecordingFor {
				t.Errorf("ended after %s: %v", time.Since(start), err)
			}
		})
	}
}
