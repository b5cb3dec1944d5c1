package tunnel_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// said is a stream whose peer has said everything that it ever says. What this
// side writes is dropped. Methods that no test needs panic.
type said struct {
	tunnel.Stream
	left *bytes.Reader
}

func newSaid(b []byte) *said { return &said{left: bytes.NewReader(b)} }

func (s *said) Read(p []byte) (int, error)     { return s.left.Read(p) }
func (*said) Write(p []byte) (int, error)      { return len(p), nil }
func (*said) Close() error                     { return nil }
func (*said) CloseWrite() error                { return nil }
func (*said) Reset(tunnel.Code)                {}
func (*said) SetDeadline(time.Time) error      { return nil }
func (*said) SetReadDeadline(time.Time) error  { return nil }
func (*said) SetWriteDeadline(time.Time) error { return nil }

// talk is a session with a single stream.
type talk struct {
	tunnel.Session
	stream *said
}

func (s talk) Open(context.Context) (tunnel.Stream, error) { return s.stream, nil }
func (talk) Err() error                                    { return nil }
func (talk) Peer() identity.ID                             { return identity.ID{} }
func (talk) CloseWithError(tunnel.Code, string) error      { return nil }

func frame(m proto.Message) []byte {
	var b bytes.Buffer
	_, _ = protodelim.MarshalTo(&b, m) // a buffer takes everything
	return b.Bytes()
}

func FuzzReadPreamble(f *testing.F) {
	f.Add(frame(&tunnel.Preamble{Target: "device/0123456789", Service: "web", RequestId: make([]byte, tunnel.IDLen), Hop: 1}))
	f.Add(frame(&tunnel.Preamble{Hop: 2}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		st := newSaid(b)
		p, err := tunnel.ReadPreamble(st, time.Minute)
		if err != nil {
			return
		}
		if len(p.GetRequestId()) != tunnel.IDLen || p.GetHop() > tunnel.MaxHops {
			t.Errorf("took %v", p)
		}
		// What follows belongs to the call and is not read.
		if used := len(b) - st.left.Len(); used > tunnel.MaxPreambleSize+10 {
			t.Errorf("read %d bytes", used)
		}
	})
}

func FuzzOpenAck(f *testing.F) {
	f.Add(frame(&tunnel.OpenAck{Hops: []*tunnel.Hop{{At: "relay/r1", TookUs: 7}}}))
	f.Add(frame(&tunnel.OpenAck{Code: uint32(tunnel.CodeNotReachable), Message: "x", RetryAfterMinMs: 1, RetryAfterMaxMs: 2}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		st, ack, err := tunnel.Open(context.Background(), talk{stream: newSaid(b)}, &tunnel.Preamble{})
		if (err == nil) != (st != nil) || (err == nil && ack.GetCode() != 0) {
			t.Errorf("stream %v, ack %v, error %v", st, ack, err)
		}
	})
}

func FuzzControl(f *testing.F) {
	welcome := frame(&tunnel.Frame{Frame: &tunnelpb.Control_Welcome{Welcome: &tunnel.Welcome{Version: 1, Session: make([]byte, tunnel.IDLen)}}})
	f.Add(welcome)
	f.Add(append(bytes.Clone(welcome), frame(&tunnel.Frame{Frame: &tunnelpb.Control_Probe{Probe: &tunnelpb.Probe{Nonce: 1}}})...))
	f.Add(frame(&tunnel.Frame{Frame: &tunnelpb.Control_Refused{Refused: &tunnelpb.Refused{Code: 1203, RetryAfterMaxMs: 5}}}))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, w, err := tunnel.Connect(context.Background(), talk{stream: newSaid(b)}, &tunnel.Hello{})
		if err != nil {
			return
		}
		if w.GetVersion() != tunnel.Version || len(w.GetSession()) != tunnel.IDLen {
			t.Errorf("took %v", w)
		}
		for range len(b) + 1 { // each frame takes a byte at least
			if _, err := c.Receive(); err != nil {
				return
			}
		}
		t.Error("more frames than bytes")
	})
}
