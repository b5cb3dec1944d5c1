package splice_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// awaiter is one end of an in-memory stream that tells when there is something to
// read: a byte at a time. Its reads are interrupted by a deadline in the past, as
// those of all connections.
type awaiter struct {
	*stream
	bytes chan byte // closed at the end

	mu       sync.Mutex
	late     bool          // guarded by mu; the read deadline is in the past
	deadline chan struct{} // guarded by mu; closed when it passes
	call     func()        // guarded by mu; what waits
}

func newAwaiter() (a *awaiter, far *stream) {
	near, far := pair()
	return &awaiter{stream: near, bytes: make(chan byte, 1), deadline: make(chan struct{})}, far
}

func (a *awaiter) Read(p []byte) (int, error) {
	a.mu.Lock()
	deadline := a.deadline
	a.mu.Unlock()
	select {
	case b, ok := <-a.bytes:
		if !ok {
			return 0, io.EOF
		}
		p[0] = b
		return 1, nil
	case <-deadline:
		return 0, os.ErrDeadlineExceeded
	}
}

func (a *awaiter) SetReadDeadline(t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	late := !t.IsZero() && t.Before(time.Now())
	if late && !a.late {
		close(a.deadline)
	}
	if !late && a.late {
		a.deadline = make(chan struct{})
	}
	a.late = late
	return nil
}

func (a *awaiter) Await(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bytes) > 0 {
		return false
	}
	a.call = f
	return true
}

// say gives the reader something; nil is the end.
func (a *awaiter) say(p ...byte) {
	a.mu.Lock()
	call := a.call
	a.call = nil
	a.mu.Unlock()
	for _, b := range p {
		a.bytes <- b
	}
	if p == nil {
		close(a.bytes)
	}
	if call != nil {
		go call()
	}
}

func (a *awaiter) parked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.call != nil
}

// TestParks: a direction that waits parks after a while, and wakes for a byte and for
// the end.
func TestParks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAwaiter()
		b, bn := pair()
		done := make(chan splice.Result, 1)
		go splice.Start(a, bn, splice.Options{}, func(r splice.Result) { done <- r })
		parks := func() {
			t.Helper()
			time.Sleep(19 * time.Millisecond)
			synctest.Wait()
			if a.parked() {
				t.Error("parks too early")
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			if !a.parked() {
				t.Error("does not park")
			}
		}
		parks()
		for _, s := range []string{"x", "y", "z"} {
			time.Sleep(time.Minute)
			a.say(s[0])
			read(t, b, s)
			parks()
		}
		a.say()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the end arrives as %v", err)
		}
		_ = b.Close()
		if r := <-done; r.Reason != tunnel.CodeOK || r.AtoB != 3 {
			t.Errorf("%+v", r)
		}
	})
}

// TestParksLater: a splice that is woken soon after it has parked, or is seen at work, waits
// longer before it parks, and after a long rest as little as at first.
func TestParksLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAwaiter()
		b, bn := pair()
		done := make(chan splice.Result, 1)
		go splice.Start(a, bn, splice.Options{}, func(r splice.Result) { done <- r })
		// after gives how long it takes to park after a byte.
		after := func() time.Duration {
			t.Helper()
			a.say('x')
			read(t, b, "x")
			for begin := time.Now(); ; time.Sleep(time.Millisecond) {
				synctest.Wait()
				if took := time.Since(begin); a.parked() || took > time.Second {
					return took
				}
			}
		}
		for _, want := range []time.Duration{20, 320, 320} {
			if got := after(); got < want*time.Millisecond || got > (want+2)*time.Millisecond {
				t.Errorf("parks after %v, want %d ms", got, want)
			}
		}
		time.Sleep(time.Minute)
		if got := after(); got > 22*time.Millisecond {
			t.Errorf("parks %v after a long rest", got)
		}
		time.Sleep(time.Minute)
		for range 50 { // a request each 5 ms
			a.say('x')
			read(t, b, "x")
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			if a.parked() {
				t.Fatal("parks between requests in a row")
			}
		}
		if got := after(); got < 300*time.Millisecond {
			t.Errorf("parks %v after requests in a row", got)
		}
		a.say()
		_, _ = b.Read(make([]byte, 1))
		_ = b.Close()
		<-done
	})
}

// TestParkedStillHasLimits: the idle timeout holds for a parked splice.
func TestParkedStillHasLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		a, _ := newAwaiter()
		b, bn := pair()
		done := make(chan splice.Result, 1)
		go splice.Start(resetWakes{a}, bn, splice.Options{IdleTimeout: time.Hour}, func(r splice.Result) { done <- r })
		r := <-done
		if lived := time.Since(begin); lived != time.Hour || r.Reason != tunnel.CodeStreamIdle {
			t.Errorf("%+v after %v", r, lived)
		}
		_, err := b.Read(make([]byte, 1))
		wantCode(t, err, tunnel.CodeStreamIdle)
	})
}

// resetWakes is an awaiter whose reader learns of a reset.
type resetWakes struct{ *awaiter }

func (r resetWakes) Reset(c tunnel.Code) {
	r.stream.Reset(c)
	r.say()
}

// onSockets runs a test with sockets that wait in goroutines, and in a poller.
func onSockets(t *testing.T, f func(t *testing.T, o splice.Options)) {
	t.Helper()
	t.Run("goroutines", func(t *testing.T) {
		t.Parallel()
		f(t, splice.Options{})
	})
	t.Run("poller", func(t *testing.T) {
		t.Parallel()
		p, err := splice.NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		f(t, splice.Options{Poller: p})
	})
}

// startSockets splices two TCP connections as if they were no such.
func startSockets(t *testing.T, o splice.Options) (a, b *net.TCPConn, result <-chan splice.Result) {
	t.Helper()
	a, x := tcpPair(t)
	b, y := tcpPair(t)
	res := make(chan splice.Result, 1)
	go splice.Start(resetting{x}, resetting{y}, o, func(r splice.Result) { res <- r })
	return a, b, res
}

// resetting is a connection whose Reset is no regular end.
type resetting struct{ *net.TCPConn }

func (r resetting) Reset(tunnel.Code) {
	_ = r.SetLinger(0)
	_ = r.Close()
}

// TestSocketsPark: what comes after a pause of any length arrives, and so does the end.
func TestSocketsPark(t *testing.T) {
	t.Parallel()
	onSockets(t, func(t *testing.T, o splice.Options) {
		t.Helper()
		a, b, res := startSockets(t, o)
		n := int64(0)
		for i := range 30 {
			pause := 15*time.Millisecond + time.Duration(i%10)*time.Millisecond
			if i%10 == 0 {
				pause += 330 * time.Millisecond // after which it parks soon
			}
			_ = b.SetReadDeadline(time.Now().Add(pause)) // a pause that ends by itself
			_, _ = b.Read(make([]byte, 1))
			_ = b.SetReadDeadline(time.Time{})
			write(t, a, "question")
			read(t, b, "question")
			write(t, b, "answer")
			read(t, a, "answer")
			n++
		}
		_ = a.CloseWrite()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the end arrives as %v", err)
		}
		_ = b.CloseWrite()
		if r := <-res; r.Reason != tunnel.CodeOK || r.AtoB != 8*n || r.BtoA != 6*n {
			t.Errorf("%+v after %d times", r, n)
		}
	})
}

// TestParkedSocketsEnd: an error of one side ends the other, which is parked.
func TestParkedSocketsEnd(t *testing.T) {
	t.Parallel()
	onSockets(t, func(t *testing.T, o splice.Options) {
		t.Helper()
		const splices = 32
		var all sync.WaitGroup
		for i := range splices {
			a, b, res := startSockets(t, o)
			all.Go(func() {
				_ = b.SetReadDeadline(time.Now().Add(10*time.Millisecond + time.Duration(i)*time.Millisecond)) // parked or about to
				_, _ = b.Read(make([]byte, 1))
				_ = b.SetReadDeadline(time.Time{})
				_ = a.SetLinger(0)
				_ = a.Close()
				if _, err := b.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("the break arrives as %v", err)
				}
				if r := <-res; r.Reason != tunnel.CodeReset {
					t.Errorf("%+v", r)
				}
			})
		}
		all.Wait()
	})
}
