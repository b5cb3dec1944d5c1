package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The pattern is made of blocks of so many bytes, which begin with their number in 8
// bytes, big-endian.
const block = 4096

// period is the length of what repeats in a block. It is no divisor of anything.
const period = 251

// defaultSize is what is moved where nobody says so.
const defaultSize = 500_000_000

// Fill writes the pattern from a position on into b.
func Fill(b []byte, at int64) {
	var head [8]byte
	last := int64(-1)
	for i := range b {
		pos := at + int64(i)
		n, in := pos/block, int(pos%block)
		if in >= len(head) {
			b[i] = byte(in % period)
			continue
		}
		if n != last {
			binary.BigEndian.PutUint64(head[:], uint64(n))
			last = n
		}
		b[i] = head[in]
	}
}

// upload counts, and tells whether it is the pattern.
func upload(w http.ResponseWriter, r *http.Request) {
	body := http.MaxBytesReader(w, r.Body, maxSize)
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	var n int64
	intact := true
	for {
		k, err := io.ReadFull(body, got)
		Fill(want[:k], n)
		intact = intact && string(got[:k]) == string(want[:k])
		n += int64(k)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && (r.ContentLength < 0 || r.ContentLength == n) {
			break
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("the body has ended after %d bytes", n), http.StatusBadRequest)
			return
		}
	}
	answer(w, map[string]any{"bytes": n, "intact": intact})
}

// pattern is the pattern as a file.
type pattern struct{ size, at int64 }

// Read implements [io.Reader].
func (p *pattern) Read(b []byte) (int, error) {
	n := min(int64(len(b)), p.size-p.at)
	if n <= 0 {
		return 0, io.EOF
	}
	Fill(b[:n], p.at)
	p.at += n
	return int(n), nil
}

// Seek implements [io.Seeker].
func (p *pattern) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	if offset < 0 {
		return 0, errors.New("before the beginning")
	}
	p.at = offset
	return offset, nil
}

func download(w http.ResponseWriter, r *http.Request) {
	size := number(r.URL.Query().Get("size"), defaultSize, maxSize)
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="pattern.bin"`)
	h.Set("ETag", fmt.Sprintf(`"pattern-%d"`, size))
	http.ServeContent(w, r, "", time.Time{}, &pattern{size: int64(size)})
}
