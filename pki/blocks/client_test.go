package blocks

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const td = identity.DefaultTrustDomain

var (
	victim = identity.Device(td, "0123456789")
	other  = identity.Device(td, "9999999999")
)

// pipeWriter is a response that is read while it is written.
type pipeWriter struct{ *io.PipeWriter }

func (pipeWriter) Header() http.Header                { return http.Header{} }
func (pipeWriter) WriteHeader(int)                    {}
func (pipeWriter) Flush()                             {}
func (pipeWriter) SetWriteDeadline(_ time.Time) error { return nil }

// wire connects a client to a publisher without a network, and can be cut.
type wire struct {
	mu     sync.Mutex // guards what follows
	pub    *Publisher
	silent bool // connections open and say nothing
	asked  []uint64
	bodies []*io.PipeWriter
}

func (w *wire) fetch(ctx context.Context, since uint64) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, since)
	if w.pub == nil {
		return nil, errors.New("unreachable")
	}
	r, pw := io.Pipe()
	w.bodies = append(w.bodies, pw)
	// What crypto/tls and net/http do on cancellation.
	context.AfterFunc(ctx, func() { pw.CloseWithError(ctx.Err()) })
	if w.silent {
		return r, nil
	}
	req := (&http.Request{URL: &url.URL{RawQuery: "since=" + strconv.FormatUint(since, 10)}}).WithContext(ctx)
	pub := w.pub
	go func() {
		pub.ServeHTTP(pipeWriter{pw}, req)
		pw.Close()
	}()
	return r, nil
}

// plug changes the publisher (nil: unreachable) and cuts what is connected.
func (w *wire) plug(p *Publisher, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pub, w.silent = p, silent
	for _, b := range w.bodies {
		b.CloseWithError(errors.New("cut"))
	}
	w.bodies = nil
}

// recorder runs a client and keeps what it said.
type recorder struct {
	*Client
	mu    sync.Mutex // guards what follows
	lists []List
	errs  []error
}

func (r *recorder) last() List {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists[len(r.lists)-1]
}

func (r *recorder) saw(target error) bool {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Is(errors.Join(r.errs...), target)
}

// start runs a client in the bubble; stop ends it.
func start(t *testing.T, w *wire, file string) (r *recorder, stop func()) {
	t.Helper()
	r = &recorder{}
	c, err := New(Config{
		URL: "https://pki", CacheFile: file, Credentials: pkitest.New(t, td).Credentials(identity.Relay(td, "r1")),
		OnError: func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.errs = append(r.errs, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.fetch, r.Client = w.fetch, c
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- c.Run(ctx, func(l List) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lists = append(r.lists, l)
		})
	}()
	return r, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
}

func publish(t *testing.T, p *Publisher, epoch uint64, block, unblock []string) {
	t.Helper()
	if err := p.Publish(epoch, block, unblock); err != nil {
		t.Fatal(err)
	}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPublisher(NewList(7, other.Path()), 0)
		r, stop := start(t, &wire{pub: p}, "")
		defer stop()
		if l := r.last(); l.Epoch() != 7 || !l.Blocked(other) || l.Blocked(victim) {
			t.Fatalf("snapshot: epoch %d, %v", l.Epoch(), l.Paths())
		}
		before := time.Now()
		publish(t, p, 8, []string{victim.Path()}, nil)
		if l := r.last(); !l.Blocked(victim) || !l.Blocked(other) || l.Epoch() != 8 {
			t.Errorf("block: epoch %d, %v", l.Epoch(), l.Paths())
		}
		publish(t, p, 9, nil, []string{other.Path()})
		if l := r.last(); l.Blocked(other) || l.Len() != 1 {
			t.Errorf("unblock: %v", l.Paths())
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("a change took %v to arrive", waited)
		}
		time.Sleep(time.Minute)
		if s := r.Status(); time.Since(s.Heard) > DefaultHeartbeat || s.Error != "" || s.Epoch != 9 || s.Blocked != 1 {
			t.Errorf("status after a quiet minute: %+v", s)
		}
	})
}

// The feed is away for a minute, and what was blocked meanwhile comes as a delta
// from where the client was.
func TestReconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, w := NewPublisher(NewList(7), 0), &wire{}
		w.plug(p, false)
		r, stop := start(t, w, "")
		defer stop()
		publish(t, p, 8, []string{other.Path()}, nil)
		if !r.last().Blocked(other) {
			t.Fatal("the feed does not work")
		}
		w.plug(nil, false)
		publish(t, p, 9, []string{victim.Path()}, nil)
		time.Sleep(time.Minute)
		if l := r.last(); l.Blocked(victim) || !l.Blocked(other) {
			t.Errorf("while away: %v", l.Paths())
		}
		if s := r.Status(); s.Error == "" || time.Since(s.Heard) < 59*time.Second {
			t.Errorf("status while away: %+v", s)
		}
		w.plug(p, false)
		time.Sleep(DefaultRetryMax)
		if l := r.last(); !l.Blocked(victim) || l.Epoch() != 9 {
			t.Errorf("after the reconnect: epoch %d, %v", l.Epoch(), l.Paths())
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := w.asked[len(w.asked)-1]; got != 8 {
			t.Errorf("asked from epoch %d, want 8", got)
		}
		if n := len(w.asked); n < 12 || n > 200 {
			t.Errorf("%d connections in a minute", n)
		}
	})
}

func TestSilentFeedIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, w := NewPublisher(NewList(7), 0), &wire{}
		w.plug(p, true)
		r, stop := start(t, w, "")
		defer stop()
		time.Sleep(DefaultSilence + time.Second)
		if !r.saw(ErrSilent) {
			t.Fatal("nobody noticed the silence")
		}
		w.plug(p, false)
		time.Sleep(DefaultSilence + DefaultRetryMax)
		if l := r.last(); l.Epoch() != 7 {
			t.Errorf("epoch %d, want 7", l.Epoch())
		}
	})
}

func TestRollbackIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{pub: NewPublisher(NewList(10, victim.Path()), 0)}
		r, stop := start(t, w, "")
		defer stop()
		if !r.last().Blocked(victim) || r.saw(ErrRollback) {
			t.Fatal("the control does not work")
		}
		restored := NewPublisher(NewList(7), 0)
		w.plug(restored, false)
		time.Sleep(10 * time.Second)
		if l := r.last(); !l.Blocked(victim) || l.Epoch() != 10 {
			t.Errorf("went back to epoch %d, %v", l.Epoch(), l.Paths())
		}
		if !r.saw(ErrRollback) {
			t.Error("no alarm")
		}
		// The operator's next change has a newer epoch and ends the alarm.
		publish(t, restored, 11, []string{other.Path()}, nil)
		time.Sleep(10 * time.Second)
		if l := r.last(); l.Epoch() != 11 || !l.Blocked(other) || r.Status().Error != "" {
			t.Errorf("after the next change: epoch %d, %v, %+v", l.Epoch(), l.Paths(), r.Status())
		}
	})
}

// Equal epochs, other contents: only the digest can tell.
func TestDivergenceIsHealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{pub: NewPublisher(NewList(10, other.Path()), 0)}
		r, stop := start(t, w, "")
		defer stop()
		if !r.last().Blocked(other) {
			t.Fatal("the control does not work")
		}
		w.plug(NewPublisher(NewList(10, victim.Path()), 0), false)
		time.Sleep(10 * time.Second)
		if l := r.last(); !l.Blocked(victim) || l.Blocked(other) || !r.saw(ErrDiverged) {
			t.Errorf("list %v, diverged %v", l.Paths(), r.saw(ErrDiverged))
		}
	})
}

func TestDiskList(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "blocks.json")
	synctest.Test(t, func(t *testing.T) {
		r, stop := start(t, &wire{pub: NewPublisher(NewList(7, victim.Path()), 0)}, file)
		if !r.last().Blocked(victim) {
			t.Error("the feed does not work")
		}
		stop()
	})
	synctest.Test(t, func(t *testing.T) { // a restart while the PKI is away
		w := &wire{}
		r, stop := start(t, w, file)
		defer stop()
		synctest.Wait()
		r.mu.Lock()
		first := r.lists[0]
		r.mu.Unlock()
		if !first.Blocked(victim) || r.Status().Epoch != 7 || !r.Status().Heard.IsZero() {
			t.Errorf("first list %v, status %+v", first.Paths(), r.Status())
		}
		w.plug(NewPublisher(NewList(6), 0), false)
		time.Sleep(DefaultRetryMax)
		if !r.saw(ErrRollback) || !r.last().Blocked(victim) {
			t.Error("the restart forgot the epoch")
		}
	})
	for name, text := range map[string]string{
		"cut off": `{"type":"snapshot","epoch":7,"blo`, "heartbeat": `{"type":"heartbeat","epoch":0,"digest":"` + List{}.Digest() + `"}`,
		"edited": `{"type":"snapshot","epoch":7,"digest":"` + NewList(7, "x").Digest() + `"}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			r, stop := start(t, &wire{pub: NewPublisher(NewList(3, other.Path()), 0)}, file)
			defer stop()
			if !r.saw(ErrMalformed) && !r.saw(ErrDiverged) {
				t.Errorf("%s: no error", name)
			}
			if !r.last().Blocked(other) {
				t.Errorf("%s: the feed was not used", name)
			}
		})
	}
}

func TestPublishRefusesOldEpochs(t *testing.T) {
	t.Parallel()
	p := NewPublisher(NewList(7), 0)
	for _, epoch := range []uint64{0, 6, 7} {
		if err := p.Publish(epoch, []string{"x"}, nil); !errors.Is(err, ErrRollback) || p.List().Len() != 0 {
			t.Errorf("epoch %d: %v, %v", epoch, err, p.List().Paths())
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"type":"snapshot","epoch":7,"block":["device/0123456789"],"digest":"x"}`))
	f.Add([]byte(`{"type":"delta","epoch":18446744073709551615,"unblock":["device/0123456789",""]}`))
	f.Add([]byte(`{"type":"heartbeat","epoch":-1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseEvent(line)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		before := NewList(5, "device/0123456789")
		after, err := before.apply(e)
		if after.Epoch() < before.Epoch() {
			t.Errorf("epoch fell from %d to %d", before.Epoch(), after.Epoch())
		}
		if err != nil && after.Digest() != before.Digest() {
			t.Errorf("%v, but the list changed", err)
		}
		if err == nil && e.Type == TypeSnapshot && after.Digest() != e.Digest {
			t.Error("accepted a snapshot with another digest")
		}
	})
}
