package presence_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence/presencepb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const serial = identity.Serial("0123456789")

func session(i int) presence.Session {
	return presence.Session{
		Device: identity.Serial(fmt.Sprintf("%010d", i)), Session: presence.SessionID(fmt.Sprintf("%032x", i+1)),
		Epoch: 1764000000000 + uint64(i), Online: true, Since: time.UnixMilli(1764000000123), //nolint:gosec // small
		Transport: tunnel.QUIC, RTT: 15 * time.Millisecond, Instance: math.MaxUint64, Boot: 7,
		Expires: time.Unix(math.MaxUint32, 0),
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	ended := session(1)
	ended.Online, ended.Transport, ended.Reason, ended.ByDevice = false, tunnel.TCP, tunnel.CodeShutdown, true
	bare := presence.Session{Device: serial, Session: presence.SessionID(strings.Repeat("0f", 16))}
	huge := session(2)
	huge.RTT = math.MaxInt64
	want := []presence.Session{session(0), ended, bare, huge}
	var wire bytes.Buffer
	// Twice with one writer: what it keeps of the first must not show in the second.
	w := presence.NewWriter(&wire)
	for range 2 {
		if err := w.Write(want, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(nil, true); err != nil {
		t.Fatal(err)
	}
	want[3].RTT = math.MaxUint32 * time.Microsecond
	r := presence.NewReader(&wire)
	for range 2 {
		got, complete, err := r.Read()
		if err != nil || complete || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got  %v, %t, %v\nwant %v", got, complete, err, want)
		}
	}
	if got, complete, err := r.Read(); err != nil || !complete || len(got) != 0 {
		t.Errorf("the end of the snapshot is read as %v, %t, %v", got, complete, err)
	}
	if _, _, err := r.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is read as %v", err)
	}
}

// A large snapshot is cut; the mark is on the last message only.
func TestChunks(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, presence.PerMessage, presence.PerMessage + 1, 3 * presence.PerMessage} {
		all := make([]presence.Session, n)
		for i := range all {
			all[i] = session(i)
			// The longest that there is.
			all[i].Epoch, all[i].Since, all[i].Online = math.MaxUint64, time.UnixMilli(-1), false
			all[i].RTT, all[i].Reason, all[i].ByDevice = math.MaxInt64, math.MaxUint32, true
		}
		var wire writes
		if err := presence.NewWriter(&wire).Write(all, true); err != nil {
			t.Fatal(err)
		}
		if want := max(1, (n+presence.PerMessage-1)/presence.PerMessage); len(wire) != want {
			t.Errorf("%d sessions in %d writes, want %d", n, len(wire), want)
		}
		r := presence.NewReader(bytes.NewReader(bytes.Join(wire, nil)))
		read := 0
		for i := range wire {
			if len(wire[i]) > presence.MaxSize {
				t.Errorf("a message of %d bytes", len(wire[i]))
			}
			got, complete, err := r.Read()
			if err != nil || complete != (i == len(wire)-1) {
				t.Fatalf("message %d of %d: %t, %v", i, len(wire), complete, err)
			}
			read += len(got)
		}
		if read != n {
			t.Errorf("%d sessions came, want %d", read, n)
		}
	}
	var wire writes
	if err := presence.NewWriter(&wire).Write(nil, false); err != nil || len(wire) != 0 {
		t.Errorf("nothing is written as %q, %v", wire, err)
	}
}

type writes [][]byte

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, bytes.Clone(p))
	return len(p), nil
}

func frame(m proto.Message) []byte {
	var b bytes.Buffer
	_, _ = protodelim.MarshalTo(&b, m) // a buffer takes everything
	return b.Bytes()
}

func wireSession() *presencepb.PresenceSession {
	return &presencepb.PresenceSession{
		Serial: string(serial), Session: bytes.Repeat([]byte{0xc3}, tunnel.IDLen), Epoch: 1764000000000, SinceUnixMs: 1764000000123,
		Transport: presencepb.PresenceTransport_PRESENCE_TRANSPORT_TCP, RttUs: 15000, Ended: true, Code: uint32(tunnel.CodeHeartbeatLost),
	}
}

// TestGolden fixes the bytes that spec.md §11 describes.
func TestGolden(t *testing.T) {
	t.Parallel()
	s := wireSession()
	m := &presencepb.Presence{Sessions: []*presencepb.PresenceSession{s}, Complete: true}
	const want = "3a" + // 58 bytes follow
		"0a36" + // sessions, 54 bytes
		"0a0a30313233343536373839" + // serial
		"1210c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3" + // session
		"1880d0dfb4ab33" + // epoch
		"20fbd0dfb4ab33" + // since_unix_ms
		"2802" + // transport: TCP
		"309875" + // rtt_us
		"3801" + // ended
		"40b409" + // code: AUER-1204
		"1001" // complete
	if got := hex.EncodeToString(frame(m)); got != want {
		t.Errorf("on the wire it is\n%s, want\n%s", got, want)
	}
	wire, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	got, complete, err := presence.NewReader(bytes.NewReader(wire)).Read()
	if err != nil || !complete || len(got) != 1 {
		t.Fatalf("read as %v, %t, %v", got, complete, err)
	}
	if g := got[0]; g.Device != serial || g.Epoch != 1764000000000 || g.Online || g.Reason != tunnel.CodeHeartbeatLost ||
		g.Transport != tunnel.TCP || g.RTT != 15*time.Millisecond || !g.Since.Equal(time.UnixMilli(1764000000123)) ||
		g.Session != presence.SessionID(strings.Repeat("c3", 16)) {
		t.Errorf("read as %+v", g)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	change := func(f func(*presencepb.PresenceSession)) []byte {
		s := wireSession()
		f(s)
		return frame(&presencepb.Presence{Sessions: []*presencepb.PresenceSession{s}})
	}
	newer := func(m proto.Message) []byte {
		b := protowire.AppendTag(nil, 2000, protowire.BytesType)
		m.ProtoReflect().SetUnknown(protowire.AppendString(b, "new"))
		return frame(m)
	}
	for name, tt := range map[string]struct {
		wire []byte
		want tunnel.Code
	}{
		"as it should be":       {change(func(*presencepb.PresenceSession) {}), tunnel.CodeOK},
		"an unknown field":      {newer(&presencepb.Presence{Complete: true}), tunnel.CodeOK},
		"an unknown transport":  {change(func(s *presencepb.PresenceSession) { s.Transport = 77 }), tunnel.CodeOK},
		"an unknown code":       {change(func(s *presencepb.PresenceSession) { s.Code = 9999 }), tunnel.CodeOK},
		"a serial of letters":   {change(func(s *presencepb.PresenceSession) { s.Serial = "01234567ab" }), tunnel.CodeProtocol},
		"no serial":             {change(func(s *presencepb.PresenceSession) { s.Serial = "" }), tunnel.CodeProtocol},
		"a short session id":    {change(func(s *presencepb.PresenceSession) { s.Session = []byte{1} }), tunnel.CodeProtocol},
		"not a message":         {[]byte{2, 0xff, 0xff}, tunnel.CodeProtocol},
		"a length without end":  {bytes.Repeat([]byte{0xff}, 11), tunnel.CodeProtocol},
		"cut within a message":  {[]byte{9, 0x10}, tunnel.CodeProtocol},
		"more than the most":    {protowire.AppendVarint(nil, presence.MaxSize+1), tunnel.CodeMessageTooLarge},
		"more than the address": {protowire.AppendVarint(nil, math.MaxUint64), tunnel.CodeMessageTooLarge},
	} {
		if _, _, err := presence.NewReader(bytes.NewReader(tt.wire)).Read(); tunnel.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	for name, s := range map[string]presence.SessionID{"short": "0f", "no hex": presence.SessionID(strings.Repeat("g", 32)), "long": presence.SessionID(strings.Repeat("0", 34))} {
		if err := presence.NewWriter(io.Discard).Write([]presence.Session{{Device: serial, Session: s}}, false); err == nil {
			t.Errorf("written with a session id that is %s", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(frame(&presencepb.Presence{Sessions: []*presencepb.PresenceSession{wireSession()}, Complete: true}))
	f.Add(append(frame(&presencepb.Presence{Sessions: []*presencepb.PresenceSession{wireSession(), {Serial: string(serial)}}}), 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := presence.NewReader(bytes.NewReader(b))
		for range len(b) + 1 { // each message takes a byte at least
			sessions, complete, err := r.Read()
			if err != nil {
				return
			}
			for _, s := range sessions {
				if _, err := identity.ParseSerial(string(s.Device)); err != nil || len(s.Session) != 2*tunnel.IDLen {
					t.Errorf("took %+v", s)
				}
			}
			// What was taken can be told on.
			if err := presence.NewWriter(io.Discard).Write(sessions, complete); err != nil {
				t.Errorf("%v: %v", sessions, err)
			}
		}
		t.Error("more messages than bytes")
	})
}

func BenchmarkSnapshot(b *testing.B) {
	all := make([]presence.Session, 10_000)
	for i := range all {
		all[i] = session(i)
	}
	var wire bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		wire.Reset()
		if err := presence.NewWriter(&wire).Write(all, true); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(wire.Len())/float64(len(all)), "wire-bytes/device")
		r := presence.NewReader(&wire)
		for {
			_, complete, err := r.Read()
			if err != nil {
				b.Fatal(err)
			}
			if complete {
				break
			}
		}
	}
}
