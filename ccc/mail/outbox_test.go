package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail/mailtest"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store and what an outbox over it logs.
type world struct {
	t    *testing.T
	db   *store.DB
	path string
	keys *seal.Keyring
	log  lines
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cfg := storetest.SQLite(t)
	cfg.ScrubAfter = time.Millisecond
	w := &world{t: t, path: cfg.Path}
	var err error
	w.db, err = store.Open(t.Context(), cfg)
	w.must(err)
	t.Cleanup(func() { w.must(w.db.Close()) })
	w.keys, err = seal.New(seal.NewKey())
	w.must(err)
	return w
}

// outbox makes one that is quick to try again.
func (w *world) outbox(cfg Config) *Outbox {
	w.t.Helper()
	cfg.Store, cfg.Keys, cfg.From = w.db, w.keys, "ccc@example.net"
	cfg.LookEvery, cfg.RetryMin, cfg.RetryMax = 10*time.Millisecond, 10*time.Millisecond, 20*time.Millisecond
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &w.log, Level: hclog.Trace})
	o, err := New(cfg)
	w.must(err)
	return o
}

// run sends until the function that it gives is called.
func (w *world) run(o *Outbox) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run gives %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) queue(o *Outbox, m Message) (id store.MailID) {
	w.t.Helper()
	w.must(w.db.Update(w.t.Context(), func(tx *store.Tx) (err error) {
		id, err = o.Queue(tx, m)
		return err
	}))
	return id
}

func (w *world) mail(id store.MailID) (m store.Mail) {
	w.t.Helper()
	w.must(w.db.View(w.t.Context(), func(tx *store.Tx) error {
		all, err := tx.Mails([]store.MailID{id})
		m = all[id]
		return err
	}))
	return m
}

// wait waits until a mail is as it is to be.
func (w *world) wait(id store.MailID, what string, is func(store.Mail) bool) store.Mail {
	w.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	end := time.After(20 * time.Second)
	for {
		m := w.mail(id)
		if is(m) {
			return m
		}
		select {
		case <-ticker.C:
		case <-end:
			w.t.Fatalf("not %s: %+v\n%s", what, m, w.log.String())
		}
	}
}

func ended(m store.Mail) bool { return m.Ended != nil }

// invitation is a mail with all that one can have.
func invitation(to string) Message {
	return Message{
		Kind: Invitation, To: to, Language: store.German, Brand: Brand{Name: "Auerswald", Legal: "Auerswald GmbH & Co. KG"},
		Name: "Jörg Müller", Tenant: "Muster GmbH", By: "Ann Ex", Link: "https://ccc.example.net/invitation#s3cr3tOfTheLink", Life: 72 * time.Hour,
	}
}

// TestExim sends through a real server: what comes is complete in each language, and
// nothing of it stays here.
func TestExim(t *testing.T) {
	t.Parallel()
	server := mailtest.Start(t)
	w := newWorld(t)
	o := w.outbox(Config{Server: server.Addr, CAFile: server.CAFile, User: server.User, PasswordFile: server.PasswordFile, ReplyTo: "help@example.net"})
	var all []Message
	ids := map[string]store.MailID{}
	for _, language := range []store.Language{store.German, store.English, store.French} {
		for _, kind := range []Kind{Invitation, InvitationTaken, PasswordReset, PasswordElse, PasswordChanged, ProviderLinked} {
			m := invitation(fmt.Sprintf("%s-%s@example.com", kind, language))
			m.Kind, m.Language, m.Provider = kind, language, "Muster ID"
			ids[m.To] = w.queue(o, m)
			all = append(all, m)
		}
	}
	w.run(o)
	for _, m := range all {
		id, kind := ids[m.To], m.Kind
		if got := w.wait(id, "sent", ended); got.State != store.MailSent || got.Sealed != nil {
			t.Fatalf("%s: %+v\n%s", m.To, got, server.Log())
		}
		came := server.Wait(m.To, 1)[0]
		if came.Header.Get("Message-Id") != "<"+string(id)+"@example.net>" || came.Header.Get("Auto-Submitted") != "auto-generated" ||
			came.Header.Get("Reply-To") != "<help@example.net>" || came.Header.Get("From") != `"Auerswald Control Center" <ccc@example.net>` {
			t.Errorf("%s: headers of %s", m.To, came.Raw)
		}
		if len(came.Subject) < 10 || !strings.Contains(came.Plain, "Müller") || !strings.Contains(came.HTML, "Müller") {
			t.Errorf("%s: %q\n%s\n%s", m.To, came.Subject, came.Plain, came.HTML)
		}
		linked := kind != InvitationTaken
		if strings.Contains(came.Plain, m.Link) != linked || strings.Contains(came.HTML, `href="`+m.Link+`"`) != linked {
			t.Errorf("%s: the link:\n%s\n%s", m.To, came.Plain, came.HTML)
		}
		for _, bad := range []string{"<img", "src=", "url(", "{{", "<no value>"} {
			if strings.Contains(came.HTML, bad) || strings.Contains(came.Plain, bad) {
				t.Errorf("%s: it has %s: %s", m.To, bad, came.HTML)
			}
		}
		if n := strings.Count(came.HTML, "://"); n > 2 {
			t.Errorf("%s: there are other links than ours: %s", m.To, came.HTML)
		}
	}
	text, err := os.ReadFile(w.path)
	w.must(err)
	for _, secret := range []string{"s3cr3tOfTheLink", "@example.com", "Müller"} {
		if strings.Contains(w.log.String(), secret) || bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s is in the log or in the database", secret)
		}
	}
	if !strings.Contains(w.log.String(), "a mail was sent") {
		t.Error("the log is not that of the outbox")
	}
}

// What a real server refuses for good is given up, with its code; what it defers waits.
func TestEximRefuses(t *testing.T) {
	t.Parallel()
	server := mailtest.Start(t)
	w := newWorld(t)
	o := w.outbox(Config{Server: server.Addr, CAFile: server.CAFile, User: server.User, PasswordFile: server.PasswordFile})
	w.run(o)
	gone, later := w.queue(o, invitation("gone@example.com")), w.queue(o, invitation("later@example.com"))
	if m := w.wait(gone, "given up", ended); m.State != store.MailFailed || m.Failure[:3] != "550" || m.Sealed != nil || m.Tries != 1 {
		t.Errorf("550: %+v", m)
	}
	w.wait(later, "tried again", func(m store.Mail) bool { return m.Tries > 1 && m.Ended == nil && strings.HasPrefix(m.Failure, "451") })
	if strings.Contains(w.log.String(), "gone@") || strings.Contains(w.log.String(), "nobody of this name") {
		t.Errorf("the log has what the server said: %s", w.log.String())
	}
}

// A wrong password, a certificate of somebody else's and a server without TLS: nothing is
// sent, nothing is given up, and the secret of the link stays here.
func TestEximIsNotTrusted(t *testing.T) {
	t.Parallel()
	server := mailtest.Start(t)
	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := newFake(t)
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"wrong password":    {Config{Server: server.Addr, CAFile: server.CAFile, User: server.User, PasswordFile: "WRONG"}, FailureSignIn},
		"other certificate": {Config{Server: server.Addr}, FailureUnreachable},
		"no TLS":            {Config{Server: plain.addr}, FailureUnreachable},
		"nobody there":      {Config{Server: "127.0.0.1:1"}, FailureUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.cfg.PasswordFile == "WRONG" {
				tt.cfg.PasswordFile = configs.SecretFile(wrong)
			}
			o := w.outbox(tt.cfg)
			id := w.queue(o, invitation("jo@example.com"))
			w.run(o)
			w.wait(id, "tried again", func(m store.Mail) bool { return m.Tries > 1 && m.Ended == nil && m.Failure == tt.want })
			if got := server.Messages("jo@example.com"); len(got) != 0 {
				t.Errorf("a mail has come: %v", got)
			}
		})
	}
}
