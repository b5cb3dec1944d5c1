package mail

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Whatever somebody is called, and whatever an address has in it, the mail has the headers
// that it is to have and no link but ours.
func TestNoInjection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.outbox(Config{Server: "127.0.0.1:1"})
	render := func(m Message) string {
		t.Helper()
		msg, err := o.message("id", m)
		w.must(err)
		var b bytes.Buffer
		_, err = msg.WriteTo(&b)
		w.must(err)
		return b.String()
	}
	names := func(raw string) []string {
		t.Helper()
		m, err := netmail.ReadMessage(strings.NewReader(raw))
		w.must(err)
		return slices.Sorted(maps.Keys(m.Header))
	}
	usual := names(render(invitation("jo@example.com")))
	if !slices.Contains(usual, "To") || slices.Contains(usual, "Bcc") {
		t.Fatalf("headers %v", usual)
	}
	for _, bad := range []string{
		"x\r\nBcc: all@example.com", "x\nBcc: all@example.com", "x\rBcc: y", "x\x00\x1b[31m", "\r\n\r\nbody", "x\u2028Bcc: y",
		"=?utf-8?q?=0D=0ABcc:_y?=", strings.Repeat("ä", 5000), `" <evil@example.com>`, "{{.Link}}", "<script>alert(1)</script>", `"><img src=x>`,
		"https://evil.example/login", "www.evil.example", "\u202egnp.exe",
	} {
		m := invitation("jo@example.com")
		m.Name, m.Tenant, m.By, m.Provider, m.Brand = bad, bad, bad, bad, Brand{Name: bad, Legal: bad}
		raw := render(m)
		if got := names(raw); !slices.Equal(got, usual) {
			t.Errorf("%.40q: headers %v, want %v", bad, got, usual)
		}
		words, err := m.write()
		w.must(err)
		m.Brand = Brand{Name: "Auerswald", Legal: "Auerswald"}
		clean, err := m.write()
		w.must(err)
		for _, wrong := range []string{"<script", "<img", "https://evil", "www.evil", "\u202e", "\x1b"} {
			// The name of a brand is the operator's own, and may be an address.
			if !strings.Contains(wrong, "evil") && strings.Contains(words.html, wrong) || strings.Contains(clean.html, wrong) || strings.Contains(clean.plain, wrong) && wrong[0] != '<' {
				t.Errorf("%.40q: %s stays", bad, wrong)
			}
		}
	}
	for _, to := range []string{"", "jo", "jo@example.com\r\nBcc: x@y.z", "Jo <jo@example.com>", "jo@example.com, al@example.com", "jo@example.com\x00"} {
		m := invitation(to)
		if err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := o.Queue(tx, m)
			return err
		}); err == nil || strings.Contains(err.Error(), "example.com") {
			t.Errorf("%q: %v", to, err)
		}
	}
}

// Each language has each mail, and no text is empty.
func TestWords(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(texts, "texts/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	seen := map[string]bool{}
	for _, language := range []store.Language{store.German, store.English, store.French} {
		for _, kind := range []Kind{Invitation, InvitationTaken, PasswordReset, PasswordElse, PasswordChanged, ProviderLinked} {
			m := invitation("jo@example.com")
			m.Kind, m.Language = kind, language
			w, err := m.write()
			if err != nil || seen[w.plain] || len(w.plain) < 200 {
				t.Errorf("%s in %s: %v %q", kind, language, err, w.plain)
			}
			seen[w.plain] = true
		}
		all, err := wordsOf(language)
		if err != nil || len(all) != 6 {
			t.Errorf("%s has %d mails, %v", language, len(all), err)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Server: "mail.example.net:587", From: "ccc@example.net"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("no mail: %v", err)
	}
	for key, change := range map[string]func(*Config){
		"server": func(c *Config) { c.Server = "mail.example.net" }, "from": func(c *Config) { c.From = "CCC <ccc@example.net>" },
		"reply_to": func(c *Config) { c.ReplyTo = "x\n@y" }, "tls": func(c *Config) { c.TLS = None }, "password_file": func(c *Config) { c.User = "ccc" },
		"timeout": func(c *Config) { c.Timeout = 1 }, "parallel": func(c *Config) { c.Parallel = -1 }, "per_hour": func(c *Config) { c.PerHour = -1 }, "reserved": func(c *Config) { c.Reserved = -1 }, "per_tenant": func(c *Config) { c.PerTenant = -1 },
		"retry_min": func(c *Config) { c.RetryMin = 1 }, "retry_max": func(c *Config) { c.RetryMax = 1 << 60 }, "give_up": func(c *Config) { c.GiveUp = 1 },
		"keep": func(c *Config) { c.Keep = 1 }, "look_every": func(c *Config) { c.LookEvery = 1 },
	} {
		c := good
		change(&c)
		err := c.Validate()
		if _, ok := errors.AsType[*configs.KeyError](err); !ok {
			t.Errorf("%s: %v is no error of a key", key, err)
		}
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
