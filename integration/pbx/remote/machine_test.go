package remote

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

func TestNobodyWithoutConsent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		w.is("s-1", grant.Pending, "")
		for _, purpose := range []string{"remote/s-1", "remote/s-2", "remote/", "s-1", ""} {
			if _, err := w.Admit(purpose, grant.Web, func() {}); !errors.Is(err, ErrRefused) {
				t.Errorf("%q: %v", purpose, err)
			}
		}
		w.allow("s-1", 0)
		w.stream("s-1")
		for _, service := range []grant.Service{grant.TCP, grant.SSH, grant.TLS, "pairing", ""} {
			if _, err := w.Admit("remote/s-1", service, func() {}); !errors.Is(err, ErrRefused) {
				t.Errorf("%q: %v", service, err)
			}
		}
		if _, err := w.Admit("remote/s-2", grant.Web, func() {}); !errors.Is(err, ErrRefused) {
			t.Errorf("another session: %v", err)
		}
	})
}

func TestTimeRunsOut(t *testing.T) {
	for _, tt := range []struct {
		asked, allowed, set, want time.Duration
	}{
		{time.Hour, 0, 0, time.Hour},
		{24 * time.Hour, 0, 0, time.Hour}, // the default is the PBX's
		{24 * time.Hour, 0, 2 * time.Hour, 2 * time.Hour},
		{10 * time.Minute, 0, 0, 10 * time.Minute},
		{10 * time.Minute, 24 * time.Hour, 0, 24 * time.Hour},
		{time.Second, 0, 0, time.Minute},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.set(func(p *Policy) { p.Life = tt.set })
				w.take("s-1", tt.asked)
				time.Sleep(5 * time.Minute) // waiting is not counted
				w.allow("s-1", tt.allowed)
				start := time.Now()
				s, cut := w.stream("s-1")
				s.Count(7, 9)
				time.Sleep(tt.want - time.Nanosecond)
				synctest.Wait()
				w.is("s-1", grant.Active, "")
				if cut.Load() != 0 {
					t.Error("cut too early")
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				w.is("s-1", grant.Ended, grant.CauseTime)
				if cut.Load() != 1 {
					t.Errorf("cut %d times", cut.Load())
				}
				if _, err := w.Admit("remote/s-1", grant.Web, func() {}); !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
				got := w.drain()
				if len(got) != 2 || got[0].State != grant.Active || !got[0].Until.Equal(start.Add(tt.want)) || got[0].Consent != wire.ConsentRequest ||
					got[1].State != grant.Ended || got[1].Cause != grant.CauseTime || got[1].BytesIn != 7 || got[1].BytesOut != 9 ||
					!got[1].StartedAt.Equal(start) || !got[1].At.Equal(start.Add(tt.want)) {
					t.Errorf("%+v", got)
				}
				s.Close()
			})
		})
	}
}

func TestLifeIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		for _, life := range []time.Duration{-1, time.Second, 24*time.Hour + 1} {
			if err := w.Allow("s-1", life); !errors.Is(err, ErrLife) {
				t.Errorf("%s: %v", life, err)
			}
			if _, err := w.NewPIN(life); !errors.Is(err, ErrLife) {
				t.Errorf("PIN for %s: %v", life, err)
			}
		}
		w.is("s-1", grant.Pending, "")
		w.allow("s-1", 24*time.Hour)
	})
}

func TestEnds(t *testing.T) {
	for why, end := range map[grant.Cause]func(*world){
		grant.CauseAdmin:     func(w *world) { _ = w.End("s-1", grant.CauseAdmin) },
		grant.CauseUser:      func(w *world) { _ = w.Gateway().End(w.t.Context(), "s-1") },
		grant.CauseCCC:       func(w *world) { _ = w.End("s-1", grant.CauseCCC) },
		grant.CauseSwitch:    func(w *world) { w.EndAll(grant.CauseSwitch) },
		grant.CauseDissolved: func(w *world) { w.set(func(p *Policy) { p.Pairing = "" }); w.Recheck() },
		grant.CauseRestart:   func(w *world) { w.Close() },
		grant.CauseReset:     func(w *world) { w.Reset(installed.Add(time.Hour)) },
	} {
		t.Run(string(why), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				for _, id := range []grant.SessionID{"s-1", "s-2", "s-3"} {
					w.take(id, time.Hour)
				}
				w.allow("s-1", 0)
				w.allow("s-2", 0)
				_, cut := w.stream("s-1")
				_, second := w.stream("s-1")
				closed, not := w.stream("s-1")
				closed.Close()
				_, other := w.stream("s-2")
				begin := time.Now()
				end(w)
				if cut.Load() != 1 || second.Load() != 1 || not.Load() != 0 {
					t.Errorf("cut %d and %d times, and %d what was closed", cut.Load(), second.Load(), not.Load())
				}
				if time.Since(begin) != 0 {
					t.Error("it took a while")
				}
				if _, err := w.Admit("remote/s-1", grant.Web, func() {}); !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
				all := why != grant.CauseAdmin && why != grant.CauseUser && why != grant.CauseCCC
				if (other.Load() == 1) != all {
					t.Errorf("the other session is cut %d times", other.Load())
				}
				over := make(map[grant.SessionID]grant.Cause)
				for _, r := range w.drain() {
					if r.State.Final() {
						over[r.Session] = r.Cause
					}
				}
				want := 1
				if all {
					want = 3
				}
				if over["s-1"] != why || len(over) != want {
					t.Errorf("reported over: %v", over)
				}
				if why == grant.CauseReset && (len(w.View().Messages) > 0 || len(w.View().Sessions) > 0) {
					t.Error("the next owner sees it")
				}
			})
		})
	}
}

// TestSwitchedAtOnce: off and on again before the end has come through ends all the same,
// and nobody gets in between.
func TestSwitchedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		w.allow("s-1", 0)
		_, cut := w.stream("s-1")
		w.set(func(p *Policy) { p.On = false })
		if _, err := w.Admit("remote/s-1", grant.Web, func() {}); !errors.Is(err, ErrRefused) {
			t.Errorf("between: %v", err)
		}
		w.set(func(p *Policy) { p.On = true })
		w.EndAll(grant.CauseSwitch)
		if cut.Load() != 1 {
			t.Error("not cut")
		}
	})
}

func TestTakeRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for name, tt := range map[string]struct {
			set    func(*Policy)
			change func(*wire.Remote)
			want   error
		}{
			"off":         {func(p *Policy) { p.On = false }, func(*wire.Remote) {}, ErrOff},
			"not paired":  {func(p *Policy) { p.Pairing = "" }, func(*wire.Remote) {}, ErrPairing},
			"other":       {func(*Policy) {}, func(r *wire.Remote) { r.Pairing = "pairing-2" }, ErrPairing},
			"other epoch": {func(*Policy) {}, func(r *wire.Remote) { r.Epoch = 1 }, ErrPairing},
			"target":      {func(*Policy) {}, func(r *wire.Remote) { r.Service, r.Target = grant.SSH, "router" }, ErrTarget},
			"as tcp":      {func(*Policy) {}, func(r *wire.Remote) { r.Service, r.Target = grant.TCP, "switch" }, ErrTarget},
			"expired":     {func(*Policy) {}, func(r *wire.Remote) { r.ExpiresAt = r.IssuedAt }, ErrExpired},
		} {
			before := w.get()
			w.set(tt.set)
			r := request("s-1", time.Hour)
			tt.change(&r)
			if _, err := w.Take(r); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v", name, err)
			}
			w.set(func(p *Policy) { *p = before })
		}
		if v := w.View(); len(v.Sessions)+len(v.Messages)+v.Reports != 0 {
			t.Errorf("something is left: %+v", v)
		}
		r := request("s-1", time.Hour)
		r.Service, r.Target = grant.SSH, "switch"
		if state, err := w.Take(r); err != nil || state != grant.Pending {
			t.Errorf("%s, %v", state, err)
		}
	})
}

// TestBounds: as many wait and run as may, and one more does not.
func TestBounds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for i := range 10 {
			id := grant.SessionID(fmt.Sprintf("s-%d", i))
			w.take(id, 24*time.Hour)
			if i < 5 {
				w.allow(id, 24*time.Hour)
			}
		}
		if _, err := w.Take(request("s-x", time.Hour)); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		if state, err := w.Take(request("s-1", time.Hour)); err != nil || state != grant.Active {
			t.Errorf("again: %s, %v", state, err)
		}
		if err := w.Allow("s-9", 0); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more runs: %v", err)
		}
		for range 64 {
			w.stream("s-1")
		}
		if _, err := w.Admit("remote/s-1", grant.Web, func() {}); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more stream: %v", err)
		}
		// What is over is forgotten, the oldest first; running ones are not.
		for i := range 2 * maxOver {
			id := grant.SessionID(fmt.Sprintf("t-%d", i))
			_ = w.Refuse("s-9")
			w.take(id, time.Hour)
			if err := w.Refuse(id); err != nil {
				t.Fatal(err)
			}
			w.drain()
		}
		if n := len(w.View().Sessions); n > maxOver+10 {
			t.Errorf("%d sessions", n)
		}
		if n := len(w.View().Messages); n > maxMessages {
			t.Errorf("%d messages", n)
		}
		w.is("s-1", grant.Active, "")
		// A control centre that acknowledges nothing gets no further.
		for i := range 1000 {
			id := grant.SessionID(fmt.Sprintf("u-%d", i))
			if _, err := w.Take(request(id, time.Hour)); err != nil {
				if !errors.Is(err, ErrTooMany) || i < 200 {
					t.Errorf("%d: %v", i, err)
				}
				return
			}
			_ = w.Refuse(id)
		}
		t.Error("reports are without bounds")
	})
}

func TestExpires(t *testing.T) {
	for _, tt := range []struct{ in, want time.Duration }{{time.Hour, 15 * time.Minute}, {time.Minute, time.Minute}} {
		t.Run(tt.in.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				r := request("s-1", time.Hour)
				r.ExpiresIn = tt.in
				if _, err := w.Take(r); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.want - 1)
				synctest.Wait()
				w.is("s-1", grant.Pending, "")
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				w.is("s-1", grant.Expired, grant.CauseNoConsent)
				if err := w.Allow("s-1", 0); !errors.Is(err, ErrState) {
					t.Errorf("too late: %v", err)
				}
				if state, err := w.Take(r); err != nil || state != grant.Expired {
					t.Errorf("the same again: %s, %v", state, err)
				}
				if got := w.drain(); len(got) != 1 || got[0].State != grant.Expired || got[0].StartedAt != nil {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestAlways(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.set(func(p *Policy) { p.Always = true })
		state, err := w.Take(request("s-1", 24*time.Hour))
		if err != nil || state != grant.Active {
			t.Fatalf("%s, %v", state, err)
		}
		_, cut := w.stream("s-1")
		if s := w.is("s-1", grant.Active, ""); s.Consent != wire.ConsentAlways || s.Left(time.Now()) != time.Hour {
			t.Errorf("%+v", s)
		}
		if err := w.Extend("s-1", time.Hour); err != nil {
			t.Fatal(err)
		}
		if s := w.is("s-1", grant.Active, ""); s.Left(time.Now()) != time.Hour {
			t.Error("more time without consent")
		}
		w.set(func(p *Policy) { p.Always = false })
		if _, err := w.Admit("remote/s-1", grant.Web, func() {}); !errors.Is(err, ErrRefused) {
			t.Errorf("withdrawn: %v", err)
		}
		w.Recheck()
		if cut.Load() != 1 {
			t.Error("not cut")
		}
		w.is("s-1", grant.Ended, grant.CauseAdmin)
	})
}

func TestExtension(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		if err := w.Extend("s-1", time.Hour); !errors.Is(err, ErrState) {
			t.Errorf("while it waits: %v", err)
		}
		w.allow("s-1", time.Hour)
		if err := w.AllowExtension("s-1", time.Hour); !errors.Is(err, ErrState) {
			t.Errorf("nobody has asked: %v", err)
		}
		if err := w.RefuseExtension("s-1"); !errors.Is(err, ErrState) {
			t.Errorf("nobody has asked: %v", err)
		}
		time.Sleep(50 * time.Minute)
		if err := w.Gateway().Extend(t.Context(), "s-1", 30); err != nil {
			t.Fatal(err)
		}
		_, cut := w.stream("s-1")
		if err := w.RefuseExtension("s-1"); err != nil {
			t.Fatal(err)
		}
		if st := w.is("s-1", grant.Active, "").status(time.Now()); st.Remaining != 600 || st.Extension != ara.ExtensionRefused {
			t.Errorf("%+v", st)
		}
		if err := w.Extend("s-1", 30*time.Minute); err != nil {
			t.Fatal(err)
		}
		if st := w.is("s-1", grant.Active, "").status(time.Now()); st.Remaining != 600 || st.Extension != ara.ExtensionPending {
			t.Errorf("%+v", st)
		}
		if err := w.AllowExtension("s-1", time.Minute); err != nil {
			t.Fatal(err)
		}
		if st := w.is("s-1", grant.Active, "").status(time.Now()); st.Remaining != 600 || st.Extension != "" {
			t.Errorf("shorter: %+v", st)
		}
		if err := w.Extend("s-1", 30*time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := w.AllowExtension("s-1", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*time.Minute - 1)
		synctest.Wait()
		w.is("s-1", grant.Active, "")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		w.is("s-1", grant.Ended, grant.CauseTime)
		if cut.Load() != 1 {
			t.Error("not cut")
		}
		var untils []time.Duration
		for _, r := range w.drain() {
			if r.Until != nil {
				untils = append(untils, r.Until.Sub(*r.StartedAt))
			}
		}
		if fmt.Sprint(untils) != "[1h0m0s 1h0m0s 1h20m0s]" {
			t.Errorf("%v", untils)
		}
	})
}

func TestMessages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		w.allow("s-1", 0)
		s, _ := w.stream("s-1")
		s.Count(100, 200)
		if err := w.End("s-1", grant.CauseAdmin); err != nil {
			t.Fatal(err)
		}
		got := w.View().Messages
		if len(got) != 2 || got[1].Event != Started || got[0].Event != Over || got[0].Cause != grant.CauseAdmin || got[0].In != 100 || got[0].Out != 200 ||
			got[1].Tenant != "Acker GmbH" || got[1].User != "Erika Muster" || got[1].Reason != "no dial tone" {
			t.Errorf("%+v", got)
		}
		w.crash()
		if n := len(w.View().Messages); n != 2 {
			t.Errorf("%d messages after a restart", n)
		}
	})
}

// TestWatch: at once, at each change, at the warning, and each heartbeat.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if _, err := w.Gateway().Watch(t.Context(), "s-1"); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
		w.take("s-1", time.Hour)
		all, err := w.Gateway().Watch(t.Context(), "s-1")
		if err != nil {
			t.Fatal(err)
		}
		type seen struct {
			at time.Duration
			ara.Status
		}
		var got []seen
		begin, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			for s := range all {
				got = append(got, seen{time.Since(begin), s})
			}
		}()
		time.Sleep(20 * time.Second)
		w.take("s-2", time.Hour) // another one
		w.allow("s-1", 350*time.Second)
		time.Sleep(350 * time.Second)
		<-done
		for i, want := range map[int]seen{
			0: {0, ara.Status{State: grant.Pending, Remaining: 900}},
			1: {15 * time.Second, ara.Status{State: grant.Pending, Remaining: 885}},
			2: {20 * time.Second, ara.Status{State: grant.Active, Remaining: 350}},
			3: {35 * time.Second, ara.Status{State: grant.Active, Remaining: 335}},
			6: {70 * time.Second, ara.Status{State: grant.Active, Remaining: 300}}, // the warning
			7: {85 * time.Second, ara.Status{State: grant.Active, Remaining: 285}},
		} {
			if len(got) <= i || got[i] != want {
				t.Errorf("%d: %+v", i, got)
			}
		}
		if last := got[len(got)-1]; last != (seen{370 * time.Second, ara.Status{State: grant.Ended, Cause: grant.CauseTime}}) {
			t.Errorf("%+v", last)
		}
		if w.liveOf("s-2").warned {
			t.Error("who waits is warned")
		}
	})
}

// TestWarning: it comes at its moment, not at the next heartbeat.
func TestWarning(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		w.allow("s-1", 5*time.Minute+7*time.Second)
		all, err := w.Gateway().Watch(t.Context(), "s-1")
		if err != nil {
			t.Fatal(err)
		}
		begin, n := time.Now(), 0
		for range all {
			if n++; n == 2 {
				break
			}
		}
		if d := time.Since(begin); d != 7*time.Second {
			t.Errorf("after %s", d)
		}
		if s := w.is("s-1", grant.Active, ""); !s.Ending(time.Now()) {
			t.Error("does not end soon")
		}
	})
}

func TestTargets(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := request("s-1", time.Hour)
		r.Service, r.Target = grant.SSH, "switch"
		if _, err := w.Take(r); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Gateway().Targets(t.Context(), "s-1"); !errors.Is(err, ErrState) {
			t.Errorf("before consent: %v", err)
		}
		w.allow("s-1", 0)
		got, err := w.Gateway().Targets(t.Context(), "s-1")
		if err != nil || len(got) != 1 || got[0].Name != "switch" || len(got[0].HostKeys) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		cut := false
		s, err := w.Admit("remote/s-1", grant.SSH, func() { cut = true })
		if err != nil || s.Target.Address != "192.168.1.2:22" {
			t.Fatalf("%+v, %v", s, err)
		}
		w.set(func(p *Policy) { p.Targets = nil })
		if _, err := w.Admit("remote/s-1", grant.SSH, func() {}); !errors.Is(err, ErrRefused) {
			t.Errorf("gone from the list: %v", err)
		}
		w.Recheck()
		if !cut {
			t.Error("not cut")
		}
	})
}
