package splice_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream is one end of an unbuffered in-memory stream with half-close and reset.
type stream struct {
	net.Conn // nil: what a splice must not call panics
	r        *io.PipeReader
	w        *io.PipeWriter
}

func pair() (here, there *stream) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return &stream{r: r1, w: w2}, &stream{r: r2, w: w1}
}

func (s *stream) Read(p []byte) (int, error)  { return s.r.Read(p) }
func (s *stream) Write(p []byte) (int, error) { return s.w.Write(p) }
func (s *stream) CloseWrite() error           { return s.w.Close() }
func (s *stream) Close() error                { _ = s.w.Close(); return s.r.Close() }
func (s *stream) Reset(c tunnel.Code) {
	err := &tunnel.Error{Code: c, Remote: true}
	_ = s.w.CloseWithError(err)
	_ = s.r.CloseWithError(err)
}

// start splices two pairs and gives the far ends and the result.
func start(o splice.Options) (a, b *stream, result <-chan splice.Result) {
	a, an := pair()
	b, bn := pair()
	done := make(chan splice.Result, 1)
	go func() { done <- splice.Join(an, bn, o) }()
	return a, b, done
}

func read(t *testing.T, r io.Reader, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(r, buf); err != nil || string(buf) != want {
		t.Fatalf("read %q, %v; want %q", buf, err, want)
	}
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, c tunnel.Code) {
	t.Helper()
	if !errors.Is(err, &tunnel.Error{Code: c}) {
		t.Fatalf("error %v, want %v", err, c)
	}
}

func TestHalfCloseBothWays(t *testing.T) {
	t.Parallel()
	var up, down atomic.Int64
	a, b, done := start(splice.Options{AtoB: &up, BtoA: &down})
	write(t, a, "question")
	read(t, b, "question")
	_ = a.CloseWrite()
	if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("b reads %d, %v after a's CloseWrite; want io.EOF", n, err)
	}
	write(t, b, "the answer")
	read(t, a, "the answer")
	write(t, b, " goes on")
	read(t, a, " goes on")
	_ = b.CloseWrite()
	if n, err := a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("a reads %d, %v after b's CloseWrite; want io.EOF", n, err)
	}
	got := <-done
	if got != (splice.Result{AtoB: 8, BtoA: 18}) {
		t.Errorf("result %+v", got)
	}
	if up.Load() != 8 || down.Load() != 18 {
		t.Errorf("live counters %d, %d; want 8, 18", up.Load(), down.Load())
	}
}

// A peer's reset reaches the other side with its code, and ends the direction
// that had no error as well.
func TestResetEndsBothAtOnce(t *testing.T) {
	t.Parallel()
	a, b, done := start(splice.Options{})
	write(t, a, "x")
	read(t, b, "x")
	a.Reset(tunnel.CodeKicked)
	_, err := b.Read(make([]byte, 1))
	wantCode(t, err, tunnel.CodeKicked)
	_, err = b.Write([]byte("y"))
	wantCode(t, err, tunnel.CodeKicked)
	r := <-done
	if r.Reason != tunnel.CodeKicked {
		t.Errorf("result %+v", r)
	}
	wantCode(t, r.Err, tunnel.CodeKicked)
}

// The stall of the sketch: b's answer is blocked on a, which takes nothing, when
// the other direction finds b gone. The blocked write must end at once, with no
// limit to help.
func TestErrorUnblocksTheBlockedWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, done := start(splice.Options{WriteTimeout: -1, IdleTimeout: -1, HalfClosedTimeout: -1})
		write(t, b, "nobody takes this")
		synctest.Wait()
		b.Reset(tunnel.CodeSessionLost)
		select {
		case r := <-done:
			t.Fatalf("ended with %+v before anybody touched b", r)
		default:
		}
		write(t, a, "x")
		if r := <-done; r.Reason != tunnel.CodeSessionLost {
			t.Errorf("result %+v", r)
		}
		_, err := a.Write([]byte("x"))
		wantCode(t, err, tunnel.CodeSessionLost)
	})
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		a, b, done := start(splice.Options{IdleTimeout: time.Minute})
		for range 3 { // traffic in either direction keeps it
			time.Sleep(40 * time.Second)
			write(t, a, "x")
			read(t, b, "x")
			time.Sleep(40 * time.Second)
			write(t, b, "y")
			read(t, a, "y")
		}
		r := <-done
		if lived := time.Since(begin); lived != 300*time.Second {
			t.Errorf("lived %v, want the last byte at 240s plus 60s", lived)
		}
		if r.Reason != tunnel.CodeStreamIdle || r.AtoB != 3 || r.BtoA != 3 {
			t.Errorf("result %+v", r)
		}
		_, err := a.Read(make([]byte, 1))
		wantCode(t, err, tunnel.CodeStreamIdle)
		_, err = b.Read(make([]byte, 1))
		wantCode(t, err, tunnel.CodeStreamIdle)
	})
}

func TestHalfClosedTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		a, b, done := start(splice.Options{IdleTimeout: time.Hour, HalfClosedTimeout: 10 * time.Second})
		time.Sleep(20 * time.Second) // not yet half-closed: no bound of 10 s
		_ = a.CloseWrite()
		_, _ = b.Read(make([]byte, 1))
		time.Sleep(5 * time.Second)
		write(t, b, "still alive")
		read(t, a, "still alive")
		r := <-done
		if lived := time.Since(begin); r.Reason != tunnel.CodeStreamIdle || lived != 35*time.Second {
			t.Errorf("result %+v after %v, want idle after 35s", r, lived)
		}
	})
}

func TestSlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		a, b, done := start(splice.Options{WriteTimeout: 30 * time.Second})
		time.Sleep(7 * time.Second)
		write(t, a, "x") // b takes nothing
		r := <-done
		if took := time.Since(begin) - 7*time.Second; took < 30*time.Second || took > 45*time.Second {
			t.Errorf("noticed after %v, want 30s to 45s", took)
		}
		if r.Reason != tunnel.CodeSlowReader {
			t.Errorf("result %+v", r)
		}
		_, err := a.Write([]byte("y"))
		wantCode(t, err, tunnel.CodeSlowReader)
		_ = b.Close()
	})
}

// A reader that takes a chunk now and then is slow, not stuck.
func TestSlowButSteadyReaderLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, done := start(splice.Options{WriteTimeout: 30 * time.Second})
		go func() {
			for range 10 {
				_, _ = io.WriteString(a, "x")
			}
			_ = a.CloseWrite()
		}()
		for range 10 {
			time.Sleep(29 * time.Second)
			read(t, b, "x")
		}
		_ = b.Close()
		if r := <-done; r.Reason != tunnel.CodeOK || r.AtoB != 10 {
			t.Errorf("result %+v", r)
		}
	})
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		a, b, done := start(splice.Options{
			IdleTimeout:  10 * time.Second,
			WriteTimeout: 10 * time.Second,
			LimitAtoB: func(ctx context.Context, n int) error {
				asked.Add(int64(n))
				select {
				case <-time.After(time.Minute): // longer than every bound: waiting is not idling
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			},
		})
		write(t, a, "abc")
		read(t, b, "abc")
		if asked.Load() != 3 {
			t.Errorf("limiter asked for %d bytes, want 3", asked.Load())
		}
		write(t, a, "def")
		synctest.Wait()
		b.Reset(tunnel.CodeKicked) // ends the wait in the limiter
		if r := <-done; r.Reason != tunnel.CodeKicked || r.AtoB != 3 {
			t.Errorf("result %+v", r)
		}
	})
}

// chunks is a side that notes the largest write.
type chunks struct {
	net.Conn
	onData bool
	most   int
}

func (c *chunks) OnData() bool { return c.onData }

func (c *chunks) Write(p []byte) (int, error) {
	c.most = max(c.most, len(p))
	return len(p), nil
}

func (*chunks) CloseWrite() error { return nil }

// zeros is a side that always has bytes, until left are gone.
type zeros struct {
	net.Conn
	left int
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	z.left -= n
	return n, nil
}

func (*zeros) CloseWrite() error { return nil }

// TestChunk: only a data connection gets writes that others would have to wait
// behind, and none that a limiter could not let through.
func TestChunk(t *testing.T) {
	t.Parallel()
	noLimit := splice.Options{}
	limit := splice.Options{LimitAtoB: func(context.Context, int) error { return nil }}
	for name, tt := range map[string]struct {
		onData bool
		o      splice.Options
		want   int
	}{
		"tunnel":                   {false, noLimit, splice.MaxChunk},
		"data connection":          {true, noLimit, 256 << 10},
		"data connection, limited": {true, limit, splice.MaxChunk},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := net.Pipe()
			_ = there.Close() // the way back ends at once
			dst := &chunks{Conn: here, onData: tt.onData}
			src := &zeros{Conn: here, left: 1 << 20}
			if res := splice.Join(src, dst, tt.o); res.Err != nil || res.AtoB != 1<<20 {
				t.Fatalf("%d bytes, %v", res.AtoB, res.Err)
			}
			if dst.most != tt.want {
				t.Errorf("the largest write has %d bytes, want %d", dst.most, tt.want)
			}
		})
	}
}

// A connection without half-close is closed when the other side ends.
func TestWithoutHalfClose(t *testing.T) {
	t.Parallel()
	a, an := net.Pipe()
	b, bn := net.Pipe()
	done := make(chan splice.Result, 1)
	go func() { done <- splice.Join(an, bn, splice.Options{}) }()
	go func() { _, _ = io.WriteString(a, "x") }()
	read(t, b, "x")
	_ = a.Close()
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read gives %v, want io.EOF", err)
	}
	if r := <-done; r.AtoB != 1 {
		t.Errorf("result %+v", r)
	}
}
