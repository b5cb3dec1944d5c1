package muxtun

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

func TestSignalLayout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		sig  signal
		want string
	}{
		{"reset", signal{kind: signalReset, id: 0x01020304, code: tunnel.CodeSlowReader}, "01 01020304 0000057a 0000"},
		{"stop", signal{kind: signalStop, id: 7, code: tunnel.CodeCancelled}, "02 00000007 0000057d 0000"},
		{"close", signal{kind: signalClose, code: tunnel.CodeDraining, reason: "drän"}, "03 00000000 000004b2 0005 6472c3a46e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.sig.encode()
			if want := strings.ReplaceAll(tt.want, " ", ""); hex.EncodeToString(got) != want {
				t.Errorf("encoded %x, want %s", got, want)
			}
			for n := range got {
				if _, size, err := parseSignal(got[:n]); size != 0 || err != nil {
					t.Errorf("%d of %d bytes parse as %d, %v", n, len(got), size, err)
				}
			}
			back, size, err := parseSignal(append(got, 1, 2, 3))
			if back != tt.sig || size != len(got) || err != nil {
				t.Errorf("parsed %+v, %d, %v", back, size, err)
			}
		})
	}
	long := signal{kind: signalClose, reason: strings.Repeat("ä", maxReason)}
	if got := long.encode(); len(got) != signalHeader+maxReason {
		t.Errorf("a long reason gives %d bytes", len(got))
	}
	tooLong := long.encode()
	binary.BigEndian.PutUint16(tooLong[9:], maxReason+1)
	if _, _, err := parseSignal(tooLong); tunnel.CodeOf(err) != tunnel.CodeMessageTooLarge {
		t.Errorf("a reason of more bytes than allowed: %v", err)
	}
}

func FuzzSignal(f *testing.F) {
	f.Add(signal{kind: signalReset, id: 3, code: 1401}.encode())
	f.Add(signal{kind: signalClose, code: 1202, reason: "draining"}.encode())
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		sig, size, err := parseSignal(b)
		if err != nil || size == 0 {
			return
		}
		if size > len(b) || size > signalHeader+maxReason {
			t.Fatalf("size %d of %d bytes", size, len(b))
		}
		again, n, err := parseSignal(sig.encode())
		if err != nil || n == 0 {
			t.Fatalf("own encoding: %d, %v", n, err)
		}
		if again.kind != sig.kind || again.id != sig.id || again.code != sig.code {
			t.Fatalf("%+v became %+v", sig, again)
		}
	})
}

// frames splits b into yamux frames the simple way; ok is false where the guard
// must refuse.
func frames(b []byte, client bool) (signals int64, ok bool) {
	for len(b) >= muxHeader {
		h := b[:muxHeader]
		b = b[muxHeader:]
		id := binary.BigEndian.Uint32(h[4:])
		flags := binary.BigEndian.Uint16(h[2:])
		syn, end := flags&1 != 0, flags&(4|8) != 0
		if h[1] == 2 || end && id == 1 || syn && (id == 0 || (id%2 == 1) == client) {
			return signals, false
		}
		if h[1] != 0 {
			continue
		}
		n := uint64(binary.BigEndian.Uint32(h[8:]))
		if n > uint64(len(b)) {
			return signals, true
		}
		b = b[n:]
		if id == 1 {
			signals += int64(n) //nolint:gosec // at most len(b)
		}
	}
	return signals, true
}

func FuzzGuard(f *testing.F) {
	data := append([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4}, "abcd"...)
	f.Add(append(data, 0, 1, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0), uint8(3), false)
	f.Add(append(data, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), uint8(1), true)
	f.Add([]byte("0007\x00\x00\x00\x010000"), uint8(3), false) // ends the signalling stream
	f.Fuzz(func(t *testing.T, b []byte, step uint8, client bool) {
		g := guard{client: client}
		var err error
		for chunk := b; len(chunk) > 0 && err == nil; {
			n := min(len(chunk), int(step)+1)
			err = g.see(chunk[:n])
			chunk = chunk[n:]
		}
		signals, ok := frames(b, client)
		if (err == nil) != ok {
			t.Fatalf("guard says %v, want ok %t", err, ok)
		}
		if ok && g.signals.Load() != signals {
			t.Fatalf("%d bytes of signals, want %d", g.signals.Load(), signals)
		}
	})
}
