package bulk_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// source is a data connection that has the rest of bytes at hand, as much a read as
// the next of arrive says.
type source struct {
	net.Conn
	rest   []byte
	arrive []int
	asked  []int // how much each read asked for
}

func (s *source) Read(p []byte) (int, error) {
	s.asked = append(s.asked, len(p))
	if len(s.arrive) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:s.arrive[0]])
	s.rest = s.rest[n:]
	if s.arrive[0] -= n; s.arrive[0] == 0 {
		s.arrive = s.arrive[1:]
	}
	return n, nil
}

func (*source) Close() error { return nil }

// life is a tunnel stream that ends with its Close.
type life struct{ net.Conn }

func (life) CloseWrite() error { return nil }
func (life) Reset(tunnel.Code) {}

// TestReadAhead: while much arrives a read of the data connection brings more than
// the record that was asked for, and else no more than that.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	const record, ahead = 16 << 10, 256 << 10
	for name, tt := range map[string]struct {
		arrive, asked []int
		want          int // size of the reads
	}{
		"little":                {[]int{100, record - 1}, []int{record, record, record}, record},
		"full, but little":      {[]int{512, 512}, []int{512, 512, 512}, 512},
		"burst":                 {[]int{record + 1000, 10}, []int{record, ahead, record, record}, record},
		"much, then nothing":    {[]int{record + 2*ahead + 7}, []int{record, ahead, ahead, ahead, record}, record},
		"reads as large anyway": {[]int{3 * ahead}, []int{ahead, ahead, ahead, ahead}, ahead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			total := 0
			for _, n := range tt.arrive {
				total += n
			}
			sent := make([]byte, total)
			for i := range sent {
				sent[i] = byte(i >> 8 * 7)
			}
			src := &source{rest: sent, arrive: slices.Clone(tt.arrive)}
			near, far := net.Pipe()
			s := bulk.NewStream(life{near}, src)
			var got []byte
			var err error
			for buf := make([]byte, tt.want); err == nil; {
				var n int
				n, err = s.Read(buf)
				got = append(got, buf[:n]...)
			}
			if !errors.Is(err, io.EOF) || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v, want the %d sent", len(got), err, total)
			}
			if !slices.Equal(src.asked, tt.asked) {
				t.Errorf("reads of %d, want %d", src.asked, tt.asked)
			}
			_, _ = s.Close(), far.Close()
		})
	}
}
