package bulk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hello is what the dialling side sends.
func hello(t bulk.Ticket) []byte { return append([]byte("AUD1"), t[:]...) }

func TestOpenAndAccept(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	ticket := bulk.NewTicket()
	got := make(chan bulk.Ticket, 1)
	go func() {
		first := make([]byte, 1)
		_, _ = io.ReadFull(b, first)
		tk, err := bulk.Accept(b, first[0])
		if err != nil {
			t.Error(err)
		}
		got <- tk
		_ = bulk.Confirm(b)
	}()
	if err := bulk.Open(t.Context(), a, ticket); err != nil {
		t.Fatal(err)
	}
	if tk := <-got; tk != ticket {
		t.Errorf("ticket %x arrives as %x", ticket, tk)
	}
	if bulk.NewTicket() == ticket {
		t.Error("the same ticket twice")
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"wrong answer": "N", "hangs up": "", "TLS alert": "\x15\x03\x03"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := net.Pipe()
			go func() {
				_, _ = io.ReadFull(b, make([]byte, 36))
				_, _ = io.WriteString(b, answer)
				_ = b.Close()
			}()
			if err := bulk.Open(t.Context(), a, bulk.NewTicket()); err == nil {
				t.Error("no error")
			}
			if _, err := a.Write([]byte{0}); err == nil {
				t.Error("the connection is still open")
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		a, b := net.Pipe()
		defer func() { _ = b.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := bulk.Open(ctx, a, bulk.NewTicket()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the context's error", err)
		}
	})
}

// TestDialerRests: where one attempt has failed the next calls do not wait.
func TestDialerRests(t *testing.T) {
	t.Parallel()
	n, blocked := 0, errors.New("blocked")
	d := bulk.Dialer{Connect: func(context.Context) (net.Conn, error) { n++; return nil, blocked }}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Dial(cancelled, bulk.NewTicket()); !errors.Is(err, blocked) {
		t.Errorf("given up by the caller: %v", err) // which says nothing about the path
	}
	if _, err := d.Dial(t.Context(), bulk.NewTicket()); !errors.Is(err, blocked) {
		t.Errorf("first: %v", err)
	}
	if _, err := d.Dial(t.Context(), bulk.NewTicket()); !errors.Is(err, bulk.ErrRest) {
		t.Errorf("second: %v", err)
	}
	if n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	for _, want := range []bool{true, false} {
		a, b := net.Pipe()
		go func() { _ = bulk.Choose(a, want) }()
		if got, err := bulk.Chosen(b, time.Minute); err != nil || got != want {
			t.Errorf("%t arrives as %t, %v", want, got, err)
		}
		go func() { _, _ = a.Write([]byte{2}) }()
		if _, err := bulk.Chosen(b, time.Minute); err == nil {
			t.Error("2 is no choice")
		}
		_, _ = a.Close(), b.Close()
	}
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if _, err := bulk.Chosen(b, time.Millisecond); err == nil {
		t.Error("a choice that was never made")
	}
}

func FuzzAccept(f *testing.F) {
	f.Add(hello(bulk.Ticket{1, 2, 3}))
	f.Add([]byte("AUD1 short"))
	f.Add([]byte("\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		ticket, err := bulk.Accept(bytes.NewReader(b[1:]), b[0])
		good := len(b) >= 36 && bytes.HasPrefix(b, []byte("AUD1"))
		if good != (err == nil) {
			t.Fatalf("%x: %v", b, err)
		}
		if good && !bytes.Equal(hello(ticket), b[:36]) {
			t.Errorf("%x is read as ticket %x", b, ticket)
		}
		if err != nil && !errors.Is(err, bulk.ErrNoData) {
			t.Errorf("%x: %v, want ErrNoData", b, err)
		}
		if tk, err := bulk.ParseTicket(b); (err == nil) != (len(b) == bulk.TicketLen) || (err == nil && !bytes.Equal(tk[:], b)) {
			t.Errorf("ParseTicket of %d bytes: %v", len(b), err)
		}
	})
}
