package tunnel

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

// Most bytes of one message, without its length prefix. A peer that announces
// more is refused before anything is allocated.
const (
	MaxControlSize  = 16 << 10
	MaxPreambleSize = 8 << 10
)

// byteReader lets protodelim read the length prefix without reading ahead, since
// the bytes after a preamble belong to the call.
type byteReader struct {
	io.Reader
	one [1]byte
}

func (r *byteReader) ReadByte() (byte, error) {
	if _, err := io.ReadFull(r.Reader, r.one[:]); err != nil {
		return 0, err
	}
	return r.one[0], nil
}

// readMessage reads one message: its length as a varint, then so many bytes.
func readMessage(r io.Reader, m proto.Message, most int64) error {
	err := protodelim.UnmarshalOptions{MaxSize: most}.UnmarshalFrom(&byteReader{Reader: r}, m)
	if tooLarge, ok := errors.AsType[*protodelim.SizeTooLargeError](err); ok {
		return Errorf(CodeMessageTooLarge, "%d bytes announced, at most %d allowed", tooLarge.Size, tooLarge.MaxSize)
	}
	if errors.Is(err, proto.Error) {
		return Errorf(CodeProtocol, "malformed message: %w", err)
	}
	return err
}

// writeMessage writes one message in a single Write.
func writeMessage(w io.Writer, m proto.Message, most int) error {
	buf := make([]byte, 0, 128)
	out := sliceWriter{&buf}
	if _, err := protodelim.MarshalTo(out, m); err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(buf) > most {
		return Errorf(CodeMessageTooLarge, "message of %d bytes, at most %d allowed", len(buf), most)
	}
	_, err := w.Write(buf)
	return err
}

type sliceWriter struct{ b *[]byte }

func (w sliceWriter) Write(p []byte) (int, error) {
	*w.b = append(*w.b, p...)
	return len(p), nil
}
