package mail

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// fake is a mail server that answers as a test wants.
type fake struct {
	addr string

	mu sync.Mutex // guards the others
	// answers gives the answer to the n-th command of a kind, counted over all sessions;
	// empty: the usual one. "cut" breaks the connection, "hang" answers nothing.
	answers func(command string, n int) string
	counted map[string]int
	mails   []string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: ln.Addr().String(), counted: map[string]int{}, answers: func(string, int) string { return "" }}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				f.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		cancel()
		running.Wait()
	})
	return f
}

// behave sets how it answers: command, and how often it came so far.
func (f *fake) behave(answers func(command string, n int) string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = answers
}

func (f *fake) answer(command, usual string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted[command]++
	if a := f.answers(command, f.counted[command]); a != "" {
		return a
	}
	return usual
}

func (f *fake) came() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.mails...)
}

func (f *fake) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	say := func(command, usual string) bool {
		switch a := f.answer(command, usual); a {
		case "cut":
			return false
		case "hang":
			_, _ = r.ReadByte() // until the other side ends it
			return false
		default:
			_, err := fmt.Fprintf(conn, "%s\r\n", a)
			return err == nil
		}
	}
	if !say("CONNECT", "220 fake") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		command := strings.ToUpper(line[:4])
		usual := map[string]string{"EHLO": "250-fake\r\n250 8BITMIME", "DATA": "354 go on", "QUIT": "221 bye"}[command]
		if usual == "" {
			usual = "250 ok"
		}
		if !say(command, usual) || command == "QUIT" {
			return
		}
		f.mu.Lock()
		began := command == "DATA" && f.answers("DATA", f.counted["DATA"]) == ""
		f.mu.Unlock()
		if began && !f.read(r, say) {
			return
		}
	}
}

// read takes the contents of a mail, which counts as come where the answer is 250, or where
// it was lost.
func (f *fake) read(r *bufio.Reader, say func(string, string) bool) bool {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(line)
	}
	f.mu.Lock()
	f.counted["END"]++
	a := f.answers("END", f.counted["END"])
	if a == "" || a == "cut" || strings.HasPrefix(a, "250") {
		f.mails = append(f.mails, b.String())
	}
	f.counted["END"]--
	f.mu.Unlock()
	return say("END", "250 taken")
}

// TestFaults: a mail survives what a server does for a time, and comes once.
func TestFaults(t *testing.T) {
	t.Parallel()
	once := func(command, what string) func(string, int) string {
		return func(c string, n int) string {
			if c == command && n == 1 {
				return what
			}
			return ""
		}
	}
	for name, tt := range map[string]struct {
		answers func(string, int) string
		state   store.MailState
		tries   int
		mails   int
		failure string
	}{
		"well":               {func(string, int) string { return "" }, store.MailSent, 1, 1, ""},
		"greylisted":         {once("RCPT", "450 4.7.1 greylisted"), store.MailSent, 2, 1, ""},
		"busy":               {once("CONNECT", "421 too many"), store.MailSent, 2, 1, ""},
		"cut at once":        {once("CONNECT", "cut"), store.MailSent, 2, 1, ""},
		"cut before data":    {once("DATA", "cut"), store.MailSent, 2, 1, ""},
		"deferred after":     {once("END", "451 try later"), store.MailSent, 2, 1, ""},
		"slow":               {once("MAIL", "hang"), store.MailSent, 2, 1, ""},
		"cut after the end":  {once("END", "cut"), store.MailSent, 2, 2, ""}, // it cannot be known; the Message-ID is the same
		"no goodbye":         {once("QUIT", "cut"), store.MailSent, 1, 1, ""},
		"cold goodbye":       {once("QUIT", "500 what"), store.MailSent, 1, 1, ""},
		"no such mailbox":    {once("RCPT", "550 5.1.1 jo@example.com is unknown"), store.MailFailed, 1, 0, "550"},
		"no such sender":     {once("MAIL", "553 no"), store.MailFailed, 1, 0, "553"},
		"refused for itself": {once("END", "554 5.7.1 spam"), store.MailFailed, 1, 0, "554"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, w := newFake(t), newWorld(t)
			f.behave(tt.answers)
			o := w.outbox(Config{Server: f.addr, TLS: None, Timeout: time.Second})
			w.run(o)
			m := w.wait(w.queue(o, invitation("jo@example.com")), "ended", ended)
			came := f.came()
			if m.State != tt.state || m.Tries != tt.tries || len(came) != tt.mails || !strings.HasPrefix(m.Failure, tt.failure) || m.Sealed != nil {
				t.Errorf("%+v, %d mails\n%s", m, len(came), w.log.String())
			}
			for _, text := range came {
				if !strings.Contains(text, "Message-ID: <"+string(m.ID)+"@example.net>") {
					t.Errorf("another Message-ID: %s", text)
				}
			}
			if strings.Contains(w.log.String(), "jo@example.com") {
				t.Errorf("an address is in the log: %s", w.log.String())
			}
		})
	}
}

// A restart loses no mail that is queued, or was being sent, and sends none twice that was
// sent. Two processes over one store do not send one mail both.
func TestRestart(t *testing.T) {
	t.Parallel()
	f, w := newFake(t), newWorld(t)
	o := w.outbox(Config{Server: f.addr, TLS: None, Timeout: time.Second})
	var ids []store.MailID
	for i := range 20 {
		ids = append(ids, w.queue(o, invitation(fmt.Sprintf("jo%d@example.com", i))))
	}
	stop := w.run(o)
	w.wait(ids[3], "sent", ended)
	stop()
	again, beside := w.outbox(Config{Server: f.addr, TLS: None, Timeout: time.Second}), w.outbox(Config{Server: f.addr, TLS: None, Timeout: time.Second})
	w.run(again)
	w.run(beside)
	for _, id := range ids {
		if m := w.wait(id, "sent", ended); m.State != store.MailSent {
			t.Errorf("%+v", m)
		}
	}
	if n := len(f.came()); n != len(ids) {
		t.Errorf("%d mails have come of %d", n, len(ids))
	}
}

// What is rolled back is not sent; what is of no use any more neither.
func TestQueue(t *testing.T) {
	t.Parallel()
	f, w := newFake(t), newWorld(t)
	o := w.outbox(Config{Server: f.addr, TLS: None, PerHour: 4, Reserved: 2})
	var undone store.MailID
	err := w.db.Update(t.Context(), func(tx *store.Tx) (err error) {
		if undone, err = o.Queue(tx, invitation("undone@example.com")); err != nil {
			return err
		}
		return context.Canceled
	})
	if err == nil || w.mail(undone).ID != "" {
		t.Errorf("%v, and the mail is there", err)
	}
	old := invitation("old@example.com")
	old.Life = time.Nanosecond
	late := w.queue(o, old)
	w.run(o)
	if m := w.wait(late, "given up", ended); m.State != store.MailFailed || m.Failure != FailureExpired {
		t.Errorf("a mail whose link is over: %+v", m)
	}
	first, second := w.queue(o, invitation("a@example.com")), w.queue(o, invitation("b@example.com"))
	w.wait(first, "sent", ended)
	w.wait(second, "sent", ended)
	third := w.queue(o, invitation("c@example.com"))
	if n := len(f.came()); n != 2 {
		t.Errorf("%d mails", n)
	}
	if m := w.mail(third); m.Ended != nil {
		t.Errorf("more are sent in an hour than may be: %+v", m)
	}
	if m, err := o.take(t.Context()); err == nil {
		t.Errorf("another is taken: %+v", m)
	}
}
