package pbx

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// try delivers an offer to a hostile PBX and types its token.
func try(t *testing.T, h Hostile) (b *box, delivered, enabled error) {
	t.Helper()
	b = newBox(t, func(c *Config) { c.Hostile = h })
	o := b.ccc.offer("offer-1")
	delivered = b.ccc.deliver(b.PBX, o)
	enabled = b.Enable(t.Context(), o.Token.Reveal(), "")
	return b, delivered, enabled
}

// TestGoodPBX is the control of the tests below.
func TestGoodPBX(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, delivered, enabled := try(t, Hostile{}); delivered != nil || enabled != nil {
			t.Errorf("%v, %v", delivered, enabled)
		}
	})
}

func TestHostileSerial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, delivered, enabled := try(t, Hostile{Serial: "9999999999"})
		if delivered == nil || !strings.Contains(delivered.Error(), "9999999999") {
			t.Errorf("received names the certificate's serial: %v", delivered)
		}
		if !errors.Is(enabled, ErrRefused) {
			t.Errorf("the proof holds: %v", enabled)
		}
	})
}

func TestHostileProof(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, delivered, enabled := try(t, Hostile{WrongProof: true}); delivered != nil || !errors.Is(enabled, ErrRefused) {
			t.Errorf("%v, %v", delivered, enabled)
		}
	})
}

func TestHostileSignature(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, delivered, _ := try(t, Hostile{BadSignature: true}); !errors.Is(delivered, wire.ErrStatement) {
			t.Errorf("received has a good signature: %v", delivered)
		}
	})
}

func TestHostileReplays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, delivered, enabled := try(t, Hostile{Replays: 99})
		if delivered != nil || enabled != nil || b.ccc.count("complete") != 100 || b.ccc.epoch != 1 {
			t.Errorf("%v, %v, %d completions, epoch %d", delivered, enabled, b.ccc.count("complete"), b.ccc.epoch)
		}
	})
}

// TestReplayLater: what was recorded is worth something only while its pairing lives.
func TestReplayLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, delivered, enabled := try(t, Hostile{Replays: 1})
		if delivered != nil || enabled != nil {
			t.Fatalf("%v, %v", delivered, enabled)
		}
		if err := b.Replay(t.Context()); err != nil {
			t.Errorf("while it lives: %v", err)
		}
		if err := b.Dissolve(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := b.Replay(t.Context()); wire.CodeOf(err) != wire.CodeOfferVoid {
			t.Errorf("after its end: %v", err)
		}
		if b.ccc.epoch != 1 {
			t.Errorf("epoch %d", b.ccc.epoch)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if b, _, enabled := try(t, Hostile{}); enabled != nil || !errors.Is(b.Replay(t.Context()), errNoRecord) {
			t.Errorf("a good PBX replays: %v", enabled)
		}
	})
}

// TestCut: a connection that the other side closes is counted, one that ends here is not.
func TestCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &PBX{cfg: Config{Hostile: Hostile{Pause: time.Second}}}
		for _, end := range []struct {
			cut  int64
			do   func(here, there net.Conn) error
			read error
		}{
			{0, func(here, _ net.Conn) error { return here.Close() }, io.ErrClosedPipe},
			{0, func(here, _ net.Conn) error { return here.SetReadDeadline(time.Now()) }, os.ErrDeadlineExceeded},
			{1, func(_, there net.Conn) error { return there.Close() }, io.EOF},
		} {
			a, there := net.Pipe()
			here := p.hostileConn(a)
			if err := end.do(here, there); err != nil {
				t.Fatal(err)
			}
			for range 2 { // once is enough
				if _, err := here.Read(make([]byte, 2)); !errors.Is(err, end.read) {
					t.Errorf("%v, want %v", err, end.read)
				}
			}
			if p.Cut() != end.cut {
				t.Errorf("%v: %d cut, want %d", end.read, p.Cut(), end.cut)
			}
			_ = here.Close()
			_ = there.Close()
		}
	})
}

func TestHostilePause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b, delivered, enabled := try(t, Hostile{Pause: 2 * time.Millisecond})
		if delivered != nil || enabled != nil && !errors.Is(enabled, ErrPending) {
			t.Errorf("%v, %v", delivered, enabled)
		}
		time.Sleep(10 * time.Minute)
		if b.State().Phase() != state.PhasePaired || time.Since(start) < time.Second {
			t.Errorf("%s after %v", b.State().Phase(), time.Since(start))
		}
	})
}

func TestHostileHuge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, delivered, enabled := try(t, Hostile{Huge: 1 << 20})
		if delivered == nil || !strings.Contains(delivered.Error(), "more than") {
			t.Errorf("the answer is not huge: %v", delivered)
		}
		if !errors.Is(enabled, ErrRefused) || b.ccc.epoch != 0 {
			t.Errorf("the request is not huge: %v", enabled)
		}
		// Only the size is wrong: with a larger limit it would be taken.
		client := http.Client{Transport: hugeRequests{handlerTransport{wire.Handle(2<<20, func(_ context.Context, m wire.Sync) (wire.Empty, error) {
			if m.Version != 7 {
				return wire.Empty{}, errors.New("another message")
			}
			return wire.Empty{}, nil
		}), identity.ID{}}, 1 << 20}}
		resp, err := client.Post("http://x/", "application/json", strings.NewReader(`{"version":7}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("with a large limit: %d", resp.StatusCode)
		}
	})
}

// TestClone: two PBXs with one certificate, each with an offer of its own.
func TestClone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		clone := &box{ccc: b.ccc, cfg: b.cfg}
		clone.cfg.Dir = t.TempDir()
		clone.start(t)
		defer clone.stop()
		one, two := b.ccc.offer("one"), b.ccc.offer("two")
		for _, d := range []struct {
			p *PBX
			o *fakeOffer
		}{{b.PBX, one}, {clone.PBX, two}} {
			if err := b.ccc.deliver(d.p, d.o); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Enable(t.Context(), one.Token.Reveal(), ""); err != nil {
			t.Error(err)
		}
		if err := clone.Enable(t.Context(), two.Token.Reveal(), ""); !errors.Is(err, ErrRefused) {
			t.Errorf("the clone: %v", err)
		}
		if clone.State().Phase() == state.PhasePaired || len(clone.users()) != 1 {
			t.Errorf("the clone is %s with %v", clone.State().Phase(), clone.users())
		}
	})
}
