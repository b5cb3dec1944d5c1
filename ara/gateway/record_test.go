package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"filippo.io/age"

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
