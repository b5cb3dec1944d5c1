package tunnel

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"
)

// sized is a message of exactly so many bytes, at least 20.
func sized(t *testing.T, size int) *Preamble {
	t.Helper()
	p := &Preamble{Service: string(make([]byte, size-20))}
	p.Service += string(make([]byte, size-proto.Size(p)))
	for proto.Size(p) > size { // the length of the field grew
		p.Service = p.Service[1:]
	}
	if got := proto.Size(p); got != size {
		t.Fatalf("made a message of %d bytes, want %d", got, size)
	}
	return p
}

// Both sides have the same limit, and it does not count the length prefix.
func TestMessageSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20, 127, 132, usualSize - 2, usualSize, usualSize + 1, MaxPreambleSize} {
		var wire bytes.Buffer
		p := sized(t, size)
		if err := writeMessage(&wire, p, MaxPreambleSize); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		wire.WriteString("rest")
		back := new(Preamble)
		if err := readMessage(&wire, back, MaxPreambleSize); err != nil || !proto.Equal(p, back) {
			t.Errorf("%d bytes do not come back: %v", size, err)
		}
		if wire.String() != "rest" {
			t.Errorf("%d bytes: %d bytes left, want those of the call", size, wire.Len())
		}
	}
	if err := writeMessage(io.Discard, sized(t, MaxPreambleSize+1), MaxPreambleSize); CodeOf(err) != CodeMessageTooLarge {
		t.Errorf("a byte too many is sent: %v", err)
	}
	var wire bytes.Buffer
	if err := writeMessage(&wire, sized(t, MaxPreambleSize+1), MaxControlSize); err != nil {
		t.Fatal(err)
	}
	if err := readMessage(&wire, new(Preamble), MaxPreambleSize); CodeOf(err) != CodeMessageTooLarge {
		t.Errorf("a byte too many is taken: %v", err)
	}
}

func TestMessageCutShort(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		wire string
		want error
	}{
		"nothing":           {"", io.EOF},
		"half a length":     {"\x80", io.ErrUnexpectedEOF},
		"no message":        {"\x05", io.ErrUnexpectedEOF},
		"half a message":    {"\x05ab", io.ErrUnexpectedEOF},
		"an endless length": {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &Error{Code: CodeProtocol}},
		"65 bits":           {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", &Error{Code: CodeProtocol}},
		"64 bits":           {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &Error{Code: CodeMessageTooLarge}},
	} {
		if err := readMessage(bytes.NewBufferString(tt.wire), new(Preamble), MaxPreambleSize); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
