package dial

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// The tests of this file run in simulated time, and with raw calls only: yamux
// keeps timers in a pool of its package, which a synctest bubble does not allow.

// rawCall opens a raw call, which needs no end-to-end session.
func rawCall(d *Dialer) (*Conn, error) {
	return d.Open(context.Background(), Call{Target: device, Service: "ssh", Inner: Raw})
}

// rawEcho answers raw calls.
func rawEcho(_ context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
	if tunnel.WriteAck(st) == nil {
		_, _ = io.Copy(st, st)
	}
	_ = st.Close()
}

func TestHeartbeatKeepsTheSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		r.heartbeat = 20_000
		r.set(device, rawEcho)
		d, _ := newDialer(t, ca, Config{}, r)
		c, err := rawCall(d)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		echo(t, c, "still here")
		if n := r.dials.Load(); n != 1 {
			t.Errorf("%d dials in an hour, want 1", n)
		}
		// The relay falls silent: noticed within two and a quarter intervals.
		r.mute.Store(true)
		begin := time.Now()
		_, err = c.Read(make([]byte, 1))
		wantCode(t, err, tunnel.CodeSessionLost)
		if took := time.Since(begin); took > 46*time.Second {
			t.Errorf("noticed after %v", took)
		}
		_ = c.Close()
	})
}

// A session that ends is replaced at once, and a relay that is down is tried ever
// more rarely.
func TestReconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		r.set(device, rawEcho)
		d, n := newDialer(t, ca, Config{}, r)
		if _, err := rawCall(d); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.each(func(s *relaySession) { _ = s.CloseWithError(tunnel.CodeKicked, "kicked") })
		c, err := rawCall(d)
		if err != nil {
			t.Fatalf("call after the end of the session: %v", err)
		}
		_ = c.Close()

		n.mu.Lock()
		delete(n.relays, "a:1")
		n.mu.Unlock()
		begin := time.Now()
		r.each(func(s *relaySession) { _ = s.CloseWithError(tunnel.CodeShutdown, "stopped") })
		for range 100 {
			_, err := rawCall(d)
			if !errors.Is(err, ErrNoRelay) {
				t.Fatalf("error %v, want ErrNoRelay", err)
			}
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("100 calls to a relay that is down took %v", took)
		}
		time.Sleep(time.Hour)
		if st := d.Relays()[0]; st.State != LinkWaiting || st.LastError == "" {
			t.Errorf("status %+v", st)
		}
		// It comes back: a call does not wait for the end of the back-off.
		n.mu.Lock()
		n.relays["a:1"] = r
		n.mu.Unlock()
		begin = time.Now()
		for {
			c, err := rawCall(d)
			if err == nil {
				_ = c.Close()
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(begin); took > 300*time.Millisecond {
			t.Errorf("back after %v", took)
		}
		if st := d.Relays()[0]; st.State != LinkUp || st.RelayID != "relay/r1" || st.Transport != tunnel.TCP {
			t.Errorf("status %+v", st)
		}
	})
}

// A relay that takes sessions and drops them at once is not hammered.
func TestAcceptThenDrop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		d, _ := newDialer(t, ca, Config{}, r)
		_ = d.start()
		stop := time.After(10 * time.Minute)
		for running := true; running; {
			select {
			case <-stop:
				running = false
			case <-time.After(50 * time.Millisecond):
				r.each(func(s *relaySession) { _ = s.CloseWithError(tunnel.CodeShutdown, "dropped") })
			}
		}
		if n := r.dials.Load(); n > 200 {
			t.Errorf("%d dials in 10 min, want about one per 7.5 s", n)
		}
	})
}

// A refusal with a retry-after is honoured, also by calls.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		r.set(device, rawEcho)
		r.refusal = &tunnel.Error{Code: tunnel.CodeTryLater, RetryAfterMin: 30 * time.Second, RetryAfterMax: 40 * time.Second}
		d, _ := newDialer(t, ca, Config{}, r)
		begin := time.Now()
		for time.Since(begin) < 29*time.Second {
			_, err := rawCall(d)
			wantCode(t, err, tunnel.CodeTryLater)
			time.Sleep(time.Second)
		}
		if n := r.dials.Load(); n != 1 {
			t.Errorf("%d dials before the relay's wish was over, want 1", n)
		}
		r.mu.Lock()
		r.refusal = nil
		r.mu.Unlock()
		time.Sleep(12 * time.Second)
		c, err := rawCall(d)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	})
}

// What a relay says about this service is told as it is.
func TestRefusedService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		r.refusal = &tunnel.Error{Code: tunnel.CodeBlocked}
		d, _ := newDialer(t, ca, Config{}, r)
		for range 3 {
			_, err := rawCall(d)
			wantCode(t, err, tunnel.CodeBlocked)
		}
	})
}

// GOAWAY: calls that run go on until the deadline, new ones go to the other relay,
// and to the draining one only where no other has the device.
func TestGoAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		a, b := newRelay("a"), newRelay("b")
		a.set(device, rawEcho)
		d, _ := newDialer(t, ca, Config{}, a, b)
		running, err := rawCall(d)
		if err != nil {
			t.Fatal(err)
		}
		a.mu.Lock()
		a.refusal = &tunnel.Error{Code: tunnel.CodeDraining, RetryAfterMin: time.Second, RetryAfterMax: 10 * time.Second}
		a.mu.Unlock()
		a.goAway(60_000)
		synctest.Wait()
		if st := d.Relays()[0]; st.State != LinkDraining {
			t.Errorf("status %+v", st)
		}
		// The device has not moved: only the draining relay has it.
		c, err := rawCall(d)
		if err != nil {
			t.Fatalf("call before the device has moved: %v", err)
		}
		_ = c.Close()
		// It moves.
		b.set(device, rawEcho)
		onA := a.opens.Load()
		for range 5 {
			c, err := rawCall(d)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		}
		if a.opens.Load() != onA {
			t.Error("the draining relay was asked though the other one has the device")
		}
		time.Sleep(30 * time.Second)
		echo(t, running, "still running")
		begin := time.Now()
		_, err = running.Read(make([]byte, 1))
		wantCode(t, err, tunnel.CodeSessionLost)
		if took := time.Since(begin); took > 31*time.Second {
			t.Errorf("the session was kept %v beyond the deadline", took-30*time.Second)
		}
		_ = running.Close()
	})
}

// A draining session without calls ends long before the deadline.
func TestDrainedSessionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		r.set(device, rawEcho)
		d, _ := newDialer(t, ca, Config{}, r)
		c, err := rawCall(d)
		if err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		first := r.sessions[0]
		r.mu.Unlock()
		r.goAway(600_000)
		time.Sleep(time.Minute)
		if first.Err() != nil {
			t.Fatal("the session ended under a running call")
		}
		_ = c.Close()
		time.Sleep(16 * time.Second)
		if first.Err() == nil {
			t.Error("the session is kept without a call")
		}
		// The next session had another instance id, so that it did not replace the
		// first one at the relay.
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.hellos) != 2 || string(r.hellos[0].GetInstanceId()) == string(r.hellos[1].GetInstanceId()) {
			t.Errorf("hellos %v", r.hellos)
		}
	})
}

// The device is between two relays: neither has it for a moment, one of them says
// that it drains.
func TestMovingDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		a, b := newRelay("a"), newRelay("b")
		a.set(device, refuse(tunnel.CodeDraining))
		d, _ := newDialer(t, ca, Config{}, a, b)
		go func() {
			time.Sleep(60 * time.Millisecond)
			b.set(device, rawEcho)
		}()
		c, err := rawCall(d)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	})
}

// An address that swallows everything costs one connect timeout, not one per call,
// and nothing when another relay has the device.
func TestBlackholedRelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		a, b := newRelay("a"), newRelay("b")
		a.blackhole.Store(true)
		b.set(device, rawEcho)
		d, _ := newDialer(t, ca, Config{}, a, b)
		if err := d.start(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		c, err := rawCall(d)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if took := time.Since(begin); took != 0 {
			t.Errorf("call took %v though relay b was up", took)
		}
	})
}
