package tunnel

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Most bytes of one message, without its length prefix. A peer that announces
// more is refused before anything is allocated.
const (
	MaxControlSize  = 16 << 10
	MaxPreambleSize = 8 << 10
)

// usualSize holds almost every message with its prefix.
const usualSize = 512

// messages holds buffers for usual messages, each in use for one of them only.
var messages = sync.Pool{New: func() any { return new([usualSize]byte) }}

// readMessage reads one message: its length as a varint, then so many bytes. It
// reads not one byte further, since what follows a preamble belongs to the call.
func readMessage(r io.Reader, m proto.Message, most int) error { //nolint:unparam // the same as readBegun and writeMessage
	pooled := messages.Get().(*[usualSize]byte)
	defer messages.Put(pooled)
	if _, err := io.ReadFull(r, pooled[:1]); err != nil {
		return err
	}
	return readRest(r, pooled, m, most)
}

// readBegun is readMessage after its first byte.
func readBegun(r io.Reader, first byte, m proto.Message, most int) error {
	pooled := messages.Get().(*[usualSize]byte)
	defer messages.Put(pooled)
	pooled[0] = first
	return readRest(r, pooled, m, most)
}

// readRest reads what follows the first byte, which is in the buffer already.
func readRest(r io.Reader, pooled *[usualSize]byte, m proto.Message, most int) error {
	size, err := readSize(r, pooled[:1])
	if err != nil {
		return err
	}
	if size > uint64(most) { //nolint:gosec // a constant of this package
		return Errorf(CodeMessageTooLarge, "%d bytes announced, at most %d allowed", size, most)
	}
	buf := pooled[:]
	if size > usualSize {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // the length promised more
		}
		return err
	}
	if err := proto.Unmarshal(buf, m); err != nil { // copies what it keeps
		return Errorf(CodeProtocol, "malformed message: %w", err)
	}
	return nil
}

// readSize reads a varint byte by byte; its first byte is in one already.
func readSize(r io.Reader, one []byte) (uint64, error) {
	var size uint64
	for i := range binary.MaxVarintLen64 {
		if i > 0 {
			if _, err := io.ReadFull(r, one); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return 0, err
			}
		}
		b := one[0]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break
		}
		size |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return size, nil
		}
	}
	return 0, Errorf(CodeProtocol, "malformed message: its length does not fit in 64 bits")
}

// writeMessage writes one message in a single Write.
func writeMessage(w io.Writer, m proto.Message, most int) error {
	size := proto.Size(m)
	if size > most {
		return Errorf(CodeMessageTooLarge, "message of %d bytes, at most %d allowed", size, most)
	}
	pooled := messages.Get().(*[usualSize]byte)
	defer messages.Put(pooled) // a Writer keeps nothing of what it is given

	buf := binary.AppendUvarint(pooled[:0], uint64(size)) //nolint:gosec // a size is not negative
	buf, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(buf, m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	_, err = w.Write(buf)
	return err
}
