package remote

import (
	"errors"
	"testing"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func (w *world) newPIN(life time.Duration) string {
	w.t.Helper()
	pin, err := w.NewPIN(life)
	if err != nil || !ara.ValidPIN(pin) {
		w.t.Fatalf("%q, %v", pin, err)
	}
	return pin
}

// wrong gives another PIN.
func wrong(pin string) string {
	b := []byte(pin)
	b[7] = '0' + (b[7]-'0'+1)%10
	return string(b)
}

func TestPIN(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", 30*time.Minute)
		w.take("s-2", time.Hour)
		if err := w.PIN("s-1", "12345678"); !errors.Is(err, ErrPIN) {
			t.Errorf("there is none: %v", err)
		}
		pin := w.newPIN(2 * time.Hour)
		if err := w.PIN("s-1", wrong(pin)); !errors.Is(err, ErrPIN) {
			t.Errorf("wrong: %v", err)
		}
		if err := w.PIN("s-9", pin); !errors.Is(err, ErrUnknown) {
			t.Errorf("another session: %v", err)
		}
		if v := w.View().PIN; v == nil || v.TriesLeft != 4 || v.Life != 2*time.Hour {
			t.Errorf("%+v", v)
		}
		if err := w.Gateway().PIN(t.Context(), "s-1", pin); err != nil {
			t.Fatal(err)
		}
		if s := w.is("s-1", grant.Active, ""); s.Consent != wire.ConsentPIN || s.Left(time.Now()) != 30*time.Minute {
			t.Errorf("%+v", s) // not longer than was asked for
		}
		if err := w.PIN("s-2", pin); !errors.Is(err, ErrPIN) {
			t.Errorf("a second time: %v", err)
		}
		if err := w.PIN("s-1", pin); !errors.Is(err, ErrState) {
			t.Errorf("not pending: %v", err)
		}
		if w.View().PIN != nil {
			t.Error("the PIN is still there")
		}
	})
}

func TestPINEnds(t *testing.T) {
	for name, end := range map[string]func(*world){
		"time":    func(*world) { time.Sleep(15 * time.Minute) },
		"void":    func(w *world) { w.VoidPIN() },
		"another": func(w *world) { w.newPIN(0) },
		"switch":  func(w *world) { w.EndAll(grant.CauseSwitch) },
		"reset":   func(w *world) { w.Reset(installed) },
		"restart": func(w *world) { w.crash() },
		"5 others": func(w *world) {
			w.take("x-1", time.Hour)
			w.take("x-2", time.Hour)
			guess(w, 3, "x-1")
			guess(w, 2, "x-2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				pin := w.newPIN(0)
				end(w)
				w.take("s-1", time.Hour)
				if err := w.PIN("s-1", pin); !errors.Is(err, ErrPIN) {
					t.Error(err)
				}
				w.is("s-1", grant.Pending, "")
				if err := w.PIN("s-1", w.newPIN(0)); err != nil { // a good one works
					t.Error(err)
				}
			})
		})
	}
}

// guess types PINs that are never right.
func guess(w *world, n int, id grant.SessionID) {
	for range n {
		_ = w.PIN(id, "x")
	}
}

func TestPINTries(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		pin := w.newPIN(0)
		for range 4 {
			if err := w.PIN("s-1", wrong(pin)); !errors.Is(err, ErrPIN) {
				t.Fatal(err)
			}
		}
		w.is("s-1", grant.Pending, "")
		if err := w.PIN("s-1", wrong(pin)); !errors.Is(err, ErrTries) {
			t.Fatal(err)
		}
		w.is("s-1", grant.Refused, grant.CauseWrongPIN)
		w.take("s-2", time.Hour)
		if err := w.PIN("s-2", pin); !errors.Is(err, ErrPIN) {
			t.Errorf("after five wrong ones: %v", err)
		}
	})
}

func TestPINRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func(p *Policy) { p.On = false })
		if _, err := w.NewPIN(0); !errors.Is(err, ErrOff) {
			t.Error(err)
		}
		w.set(func(p *Policy) { p.On, p.Pairing = true, "" })
		if _, err := w.NewPIN(0); !errors.Is(err, ErrPairing) {
			t.Error(err)
		}
	})
}

// TestPINsDiffer: they are drawn from all of them.
func TestPINsDiffer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		seen, first := make(map[string]bool), make(map[byte]bool)
		for range 500 {
			pin := w.newPIN(0)
			seen[pin], first[pin[0]] = true, true
		}
		if len(seen) < 499 || len(first) != 10 {
			t.Errorf("%d PINs, %d first digits", len(seen), len(first))
		}
	})
}
