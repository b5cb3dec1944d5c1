package remote

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestRestart: no session goes on, and the control centre hears of each.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for _, id := range []grant.SessionID{"s-1", "s-2", "s-3"} {
			w.take(id, time.Hour)
		}
		w.allow("s-1", 0)
		if err := w.Refuse("s-3"); err != nil {
			t.Fatal(err)
		}
		s, _ := w.stream("s-1")
		s.Count(11, 22)
		time.Sleep(time.Minute + time.Second) // a checkpoint
		s.Count(1, 1)
		w.crash()
		s1 := w.is("s-1", grant.Ended, grant.CauseRestart)
		w.is("s-2", grant.Ended, grant.CauseRestart)
		w.is("s-3", grant.Refused, grant.CauseAdmin)
		if s1.In != 11 || s1.Out != 22 {
			t.Errorf("%d and %d bytes", s1.In, s1.Out)
		}
		if _, err := w.Admit("remote/s-1", grant.Web, func() {}); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
		if state, err := w.Take(request("s-1", time.Hour)); err != nil || state != grant.Ended {
			t.Errorf("the same request: %s, %v", state, err)
		}
		w.crash()
		var got []string
		for _, r := range w.drain() {
			got = append(got, fmt.Sprint(r.Session, " ", r.State, " ", r.Cause))
		}
		if fmt.Sprint(got) != "[s-1 active  s-3 refused admin s-1 ended restart s-2 ended restart]" {
			t.Errorf("%q", got)
		}
		w.crash()
		if _, ok := w.NextReport(); ok {
			t.Error("acknowledged reports come back")
		}
	})
}

// TestInterruptedReset: whoever sets the PBX up next sees nothing, the control centre all.
func TestInterruptedReset(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		w.allow("s-1", 0)
		m, err := Open(Config{Disk: w.disk.crashed(), Installed: installed.Add(time.Hour), Policy: w.get})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if v := m.View(); len(v.Sessions)+len(v.Messages) != 0 || v.Reports != 2 {
			t.Errorf("%+v", v)
		}
		_, _ = m.NextReport()
		m.Told(1)
		if q, ok := m.NextReport(); !ok || q.Report.Cause != grant.CauseReset {
			t.Errorf("%+v", q)
		}
	})
}

// TestCrashAtEachStep goes through a session with a disk that stops after n steps, and
// looks at what the next start finds: nobody was let in of whom it does not know, and no
// report is lost or out of order.
func TestCrashAtEachStep(t *testing.T) {
	const steps = 18 // of the disk: six writes
	for n := range steps + 2 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.disk.fail(n)
				_, _ = w.Take(request("s-1", time.Hour))
				consented := w.Allow("s-1", time.Hour) == nil
				_, err := w.Admit("remote/s-1", grant.Web, func() {})
				if (err == nil) != consented {
					t.Fatalf("consent is %v, let in: %v", consented, err)
				}
				told := make(map[string]bool)
				deliver := func() {
					for {
						q, ok := w.NextReport()
						if !ok {
							return
						}
						told[fmt.Sprint(q.Report.State)] = true
						w.Told(q.Seq)
					}
				}
				deliver()
				_ = w.End("s-1", grant.CauseAdmin)
				if s, ok := w.Session("s-1"); ok && !s.State.Final() {
					t.Errorf("a disk that fails keeps it %s", s.State)
				}
				w.crash()
				deliver()
				if consented && (!told["active"] || !told["ended"]) {
					t.Errorf("the control centre knows of %v", told)
				}
				if consented != (n >= 6) {
					t.Errorf("consented is %v after %d steps", consented, n)
				}
				if s, ok := w.Session("s-1"); ok && !s.State.Final() {
					t.Errorf("goes on as %s", s.State)
				}
				if told["ended"] && told["refused"] {
					t.Errorf("two ends: %v", told)
				}
			})
		})
	}
}

// TestFullDisk: nobody gets in, everybody gets out, and what is missing is written later.
func TestFullDisk(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.take("s-1", time.Hour)
		w.take("s-2", time.Hour)
		w.allow("s-1", 0)
		_, cut := w.stream("s-1")
		w.disk.fail(0)
		if _, err := w.Take(request("s-3", time.Hour)); !errors.Is(err, errDisk) {
			t.Errorf("a request: %v", err)
		}
		if err := w.Allow("s-2", 0); !errors.Is(err, errDisk) {
			t.Errorf("a consent: %v", err)
		}
		w.is("s-2", grant.Pending, "")
		if err := w.End("s-1", grant.CauseAdmin); err != nil || cut.Load() != 1 {
			t.Errorf("an end: %v, cut %d times", err, cut.Load())
		}
		w.disk.fail(-1)
		time.Sleep(time.Minute + time.Second)
		w.crash()
		w.is("s-1", grant.Ended, grant.CauseAdmin)
	})
}

// TestSlowDisk: a write that hangs delays no end, and a consent that it delays does not
// come true where it was overtaken.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	for why, end := range map[grant.Cause]func(*world){
		grant.CauseCCC:     func(w *world) { _ = w.End("s-1", grant.CauseCCC); _ = w.End("s-2", grant.CauseCCC) },
		grant.CauseSwitch:  func(w *world) { w.EndAll(grant.CauseSwitch) },
		grant.CauseRestart: func(w *world) { w.Close() },
	} {
		t.Run(string(why), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.take("s-1", time.Hour)
			w.take("s-2", time.Hour)
			w.allow("s-1", 0)
			cut := make(chan struct{})
			if _, err := w.Admit("remote/s-1", grant.Web, func() { close(cut) }); err != nil {
				t.Fatal(err)
			}
			writes, let := make(chan struct{}), make(chan struct{})
			w.disk.slow = func() {
				select {
				case writes <- struct{}{}: // the first one
					<-let
				case <-let:
				}
			}
			allowed, ended := make(chan error, 1), make(chan struct{})
			go func() { allowed <- w.Allow("s-2", 0) }()
			<-writes
			go func() { defer close(ended); end(w) }()
			<-cut // while the disk hangs
			close(let)
			err := <-allowed
			<-ended
			if why != grant.CauseCCC && err == nil { // whose second end waits for the first
				t.Error("a consent that was overtaken came true")
			}
			if s, _ := w.Session("s-2"); !s.State.Final() {
				t.Errorf("goes on as %s", s.State)
			}
			w.crash()
			over := 0
			for _, r := range w.drain() {
				if r.Session == "s-2" && r.State.Final() {
					over++
				}
			}
			if over != 1 {
				t.Errorf("%d ends", over)
			}
		})
	}
}

func TestCorrupt(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON": "hello", "format": `{"format":2}`, "state": `{"format":1,"sessions":[{"id":"s-1","state":"open"}]}`,
		"id": `{"format":1,"sessions":[{"id":"","state":"ended"}]}`,
	} {
		d := newMemory()
		d.files[File] = []byte(text)
		if _, err := Open(Config{Disk: d, Policy: func() Policy { return Policy{} }}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := newMemory()
	d.files[File] = []byte(`{"format":1}`)
	m, err := Open(Config{Disk: d, Policy: func() Policy { return Policy{} }})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if _, err := m.Take(request("s-1", time.Hour)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("without a disk")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"format":1,"seq":3,"sessions":[{"id":"s-1","state":"active"}],"reports":[{"seq":3,"report":{"session":"s-1"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := newMemory()
		d.files[File] = text
		m, err := Open(Config{Disk: d, Installed: installed, Policy: func() Policy { return Policy{On: true, Always: true, Pairing: "pairing-1"} }})
		if err != nil {
			return
		}
		defer m.Close()
		for _, s := range m.View().Sessions {
			if !s.State.Final() {
				t.Errorf("%s goes on", s.ID)
			}
		}
		if _, err := m.Admit(grant.SessionID("s-1").Purpose(), grant.Web, func() {}); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	})
}
