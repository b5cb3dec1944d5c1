package tunnel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// answering runs answer on the next stream that a session accepts.
func answering(t *testing.T, s tunnel.Session, answer func(tunnel.Stream)) {
	t.Helper()
	go func() {
		st, err := s.Accept(context.Background())
		if err != nil {
			return
		}
		answer(st)
	}()
}

func preamble() *tunnel.Preamble {
	return &tunnel.Preamble{Target: "device/0123456789", Service: "web", Purpose: "test"}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		got := make(chan *tunnel.Preamble, 1)
		answering(t, server, func(st tunnel.Stream) {
			p, err := tunnel.ReadPreamble(st, patience)
			if err != nil {
				t.Error(err)
			}
			got <- p
			if err := tunnel.WriteAck(st, &tunnel.Hop{At: "target", TookUs: 12}); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(st, st)
			_ = st.Close()
		})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		p := preamble()
		st, ack, err := tunnel.Open(ctx, client, p)
		if err != nil {
			t.Fatal(err)
		}
		cancel() // means nothing to the open stream
		if len(ack.GetHops()) != 1 || ack.GetHops()[0].GetTookUs() != 12 {
			t.Errorf("ack %v", ack)
		}
		arrived := <-got
		if arrived.GetTarget() != p.GetTarget() || len(arrived.GetRequestId()) != tunnel.IDLen || arrived.GetTimeoutMs() == 0 || arrived.GetTimeoutMs() > uint32(patience.Milliseconds()) {
			t.Errorf("preamble arrives as %v", arrived)
		}
		_, _ = io.WriteString(st, "the call's bytes")
		_ = st.CloseWrite()
		if back, err := io.ReadAll(st); err != nil || string(back) != "the call's bytes" {
			t.Errorf("got %q, %v", back, err)
		}
		_ = st.Close()
	})
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func(s tunnel.Session, st tunnel.Stream)
		wait   time.Duration
		want   tunnel.Code
		remote bool
		retry  bool
	}{
		{"refused", func(_ tunnel.Session, st tunnel.Stream) {
			tunnel.Refuse(st, tunnel.Errorf(tunnel.CodeNotReachable, "no such device"))
		}, patience, tunnel.CodeNotReachable, true, true},
		{"refused for an error without a number", func(_ tunnel.Session, st tunnel.Stream) {
			tunnel.Refuse(st, errors.New("a secret"))
		}, patience, tunnel.CodeInternal, true, false},
		{"reset with a number", func(_ tunnel.Session, st tunnel.Stream) {
			st.Reset(tunnel.CodeTooManyStreams)
		}, patience, tunnel.CodeTooManyStreams, true, true},
		{"reset", func(_ tunnel.Session, st tunnel.Stream) { st.Reset(tunnel.CodeReset) }, patience, tunnel.CodeTunnelGone, false, true},
		{"closed", func(_ tunnel.Session, st tunnel.Stream) { _ = st.Close() }, patience, tunnel.CodeTunnelGone, false, true},
		{"cut in the ack", func(_ tunnel.Session, st tunnel.Stream) {
			_, _ = st.Write([]byte{5, 0})
			_ = st.Close()
		}, patience, tunnel.CodeTunnelGone, false, true},
		{"garbage", func(_ tunnel.Session, st tunnel.Stream) { _, _ = st.Write([]byte{2, 0xff, 0xff}) }, patience, tunnel.CodeProtocol, false, false},
		{"too large", func(_ tunnel.Session, st tunnel.Stream) {
			_, _ = st.Write(binary.AppendUvarint(nil, tunnel.MaxPreambleSize+1))
		}, patience, tunnel.CodeMessageTooLarge, false, false},
		{"session ends", func(s tunnel.Session, _ tunnel.Stream) { _ = s.CloseWithError(tunnel.CodeShutdown, "") }, patience, tunnel.CodeTunnelGone, false, true},
		{"no answer", func(tunnel.Session, tunnel.Stream) {}, 50 * time.Millisecond, tunnel.CodeOpenTimeout, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, client, server tunnel.Session) {
				answering(t, server, func(st tunnel.Stream) {
					_, err := tunnel.ReadPreamble(st, patience)
					if err != nil && tt.wait == patience {
						t.Error(err)
					}
					tt.answer(server, st)
				})
				st, _, err := tunnel.Open(limit(t, tt.wait), client, preamble())
				e, ok := errors.AsType[*tunnel.Error](err)
				if !ok || e.Code != tt.want || e.Remote != tt.remote || tunnel.Retryable(err) != tt.retry || st != nil {
					t.Errorf("%v, want %s (remote %t, retry %t)", err, tt.want, tt.remote, tt.retry)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Error("the cause of an internal error crosses the wire")
				}
			})
		})
	}
}

func TestOpenBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
		defer cancel()
		if _, _, err := tunnel.Open(ctx, client, preamble()); tunnel.CodeOf(err) != tunnel.CodeOpenTimeout {
			t.Errorf("past the deadline: %v", err)
		}
		gone, stop := context.WithCancel(t.Context())
		stop()
		if _, _, err := tunnel.Open(gone, client, preamble()); tunnel.CodeOf(err) != tunnel.CodeCancelled {
			t.Errorf("cancelled: %v", err)
		}
		// A code that says nothing about this call must not make it look lost.
		_ = server.CloseWithError(tunnel.CodeProtocol, "")
		<-client.Done()
		_, _, err := tunnel.Open(t.Context(), client, preamble())
		if tunnel.CodeOf(err) != tunnel.CodeTunnelGone || !tunnel.Retryable(err) || !errors.Is(err, &tunnel.Error{Code: tunnel.CodeProtocol}) {
			t.Errorf("after the session: %v", err)
		}
	})
}

func TestBadPreamble(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bytes []byte
		want  tunnel.Code
	}{
		"no request id": {frame(&tunnel.Preamble{}), tunnel.CodeProtocol},
		"too many hops": {frame(&tunnel.Preamble{RequestId: tunnel.NewID(), Hop: tunnel.MaxHops + 1}), tunnel.CodeHopLimit},
		"too large":     {binary.AppendUvarint(nil, tunnel.MaxPreambleSize+1), tunnel.CodeMessageTooLarge},
		"not UTF-8":     {append([]byte{3, 0x0a, 1}, 0xff), tunnel.CodeProtocol},
		"good":          {frame(&tunnel.Preamble{RequestId: tunnel.NewID(), Hop: tunnel.MaxHops}), tunnel.CodeOK},
	} {
		if _, err := tunnel.ReadPreamble(newSaid(tt.bytes), patience); tunnel.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		st, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = st.Write([]byte{100})
		other, err := server.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tunnel.ReadPreamble(other, 20*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) || tunnel.CodeOf(err) != tunnel.CodeOpenTimeout {
			t.Errorf("half a preamble: %v", err)
		}
	})
}

// TestPreambleTakesNoByteOfTheCall: what follows it is still in the stream.
func TestPreambleTakesNoByteOfTheCall(t *testing.T) {
	t.Parallel()
	st := newSaid(append(frame(&tunnel.Preamble{RequestId: tunnel.NewID()}), "the call"...))
	if _, err := tunnel.ReadPreamble(st, patience); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(st); string(rest) != "the call" {
		t.Errorf("left: %q", rest)
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want tunnel.Code
	}{
		{nil, tunnel.CodeOK},
		{errors.New("x"), tunnel.CodeInternal},
		{context.Canceled, tunnel.CodeCancelled},
		{fmt.Errorf("x: %w", os.ErrDeadlineExceeded), tunnel.CodeOpenTimeout},
		{fmt.Errorf("x: %w", tunnel.Errorf(tunnel.CodeIdle, "y")), tunnel.CodeIdle},
	} {
		if got := tunnel.CodeOf(tt.err); got != tt.want {
			t.Errorf("CodeOf(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
	e := tunnel.Errorf(tunnel.CodeOpenTimeout, "no ack: %w", io.ErrUnexpectedEOF)
	if !e.Timeout() || !errors.Is(e, io.ErrUnexpectedEOF) || !errors.Is(e, &tunnel.Error{Code: tunnel.CodeOpenTimeout}) || errors.Is(e, &tunnel.Error{Code: tunnel.CodeIdle}) {
		t.Errorf("%v does not compare", e)
	}
	if got := e.Error(); got != "AUER-1308 no open-ack in time: no ack: unexpected EOF" {
		t.Errorf("text %q", got)
	}
	if info := tunnel.Code(4711).Info(); info.Name != "code_4711" || info.HTTPStatus != 502 || info.Retryable {
		t.Errorf("an unknown code is %+v", info)
	}
}
