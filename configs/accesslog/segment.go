package accesslog

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	segmentMagic = "AXS2"
	magicMillis  = "AXS1" // of segments with times in milliseconds
	segmentExt   = ".seg"
	recordSize   = 4 + 16 + 1
	chunkRecords = 4096
	nonceSize    = 12
	tagSize      = 16
	maxService   = 64
	hourLayout   = "2006-01-02T15Z"
)

// ErrTorn: a segment ends within a chunk, as a crash leaves it. What is before is good.
var ErrTorn = errors.New("the segment ends within a chunk")

// errSegment: what is read is not a segment, or not one of this key.
var errSegment = errors.New("not a segment of the access log, or not one of this key")

// Record is one access in the raw stream.
type Record struct {
	Time    time.Time  `json:"time"` // UTC, to the microsecond
	Address netip.Addr `json:"address"`
	Service string     `json:"service"`
	Class   Class      `json:"class"`
}

// entry is one access in memory.
type entry struct {
	at    int64 // Unix nanoseconds by the system's clock
	addr  [16]byte
	class Class
}

func (e *entry) hour() time.Time { return time.Unix(0, e.at).UTC().Truncate(time.Hour) }

// segment is the file that is being written.
type segment struct {
	key    key
	f      *os.File
	size   int64 // of what is good
	header []byte
	unit   time.Duration // of its times
	aead   cipher.AEAD
	plain  []byte // reused
	sealed []byte // reused
}

func segmentName(k key) string { return k.start.Format(hourLayout) + "-" + k.id.String() + segmentExt }

// segmentOf gives the id in a segment's name.
func segmentOf(name string) (id segmentID, ok bool) {
	base, ok := strings.CutSuffix(name, segmentExt)
	if !ok || len(base) < 2*idSize {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(base[len(base)-2*idSize:]))
	return id, err == nil
}

func segmentHeader(magic string, k key, service string) []byte {
	out := append([]byte(magic), k.id[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(k.start.Unix())) //nolint:gosec // and back
	out = append(out, byte(len(service)))
	return append(out, service...)
}

// openSegment opens the file of a key for more chunks, and makes it where there is none.
func openSegment(dir string, k key, service string) (s *segment, err error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(k)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s = &segment{key: k, f: f, header: segmentHeader(segmentMagic, k, service), unit: time.Microsecond, aead: newAEAD(k.secret)}
	if err := s.resume(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// resume finds the end of what is good.
func (s *segment) resume() error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	r := bufio.NewReader(s.f)
	head := make([]byte, len(s.header))
	_, err = io.ReadFull(r, head)
	if old := append([]byte(magicMillis), s.header[len(segmentMagic):]...); err == nil && bytes.Equal(head, old) {
		s.header, s.unit = old, time.Millisecond // of an older program, within this hour
	}
	if err != nil || !bytes.Equal(head, s.header) {
		// New, or torn before anything was in it.
		if _, err := s.f.WriteAt(s.header, 0); err != nil {
			return err
		}
		s.size = int64(len(s.header))
		return s.f.Truncate(s.size)
	}
	s.size = int64(len(s.header))
	for {
		n, err := chunkLength(r)
		if err != nil {
			break
		}
		if end := s.size + 4 + int64(n); end > info.Size() {
			break
		} else if _, err := r.Discard(n); err != nil {
			return err
		} else {
			s.size = end
		}
	}
	return s.f.Truncate(s.size)
}

// append seals entries, all of the segment's hour, as one or more chunks.
func (s *segment) append(entries []entry) error {
	for len(entries) > 0 {
		n := min(len(entries), chunkRecords)
		if err := s.chunk(entries[:n]); err != nil {
			// What was written of the chunk must not be in front of the next one.
			return errors.Join(err, s.f.Truncate(s.size))
		}
		entries = entries[n:]
	}
	return nil
}

func (s *segment) chunk(entries []entry) error {
	s.plain = s.plain[:0]
	start := s.key.start.UnixNano()
	for i := range entries {
		e := &entries[i]
		s.plain = binary.BigEndian.AppendUint32(s.plain, uint32((e.at-start)/int64(s.unit))) //nolint:gosec // within the hour
		s.plain = append(s.plain, e.addr[:]...)
		s.plain = append(s.plain, byte(e.class))
	}
	s.sealed = binary.BigEndian.AppendUint32(s.sealed[:0], uint32(nonceSize+len(s.plain)+tagSize)) //nolint:gosec // one chunk
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return err
	}
	s.sealed = append(s.sealed, nonce[:]...)
	s.sealed = s.aead.Seal(s.sealed, nonce[:], s.plain, s.header)
	clear(s.plain)
	n, err := s.f.WriteAt(s.sealed, s.size)
	if err != nil {
		return err
	}
	s.size += int64(n)
	return nil
}

func (s *segment) close() error { return errors.Join(s.f.Sync(), s.f.Close()) }

// chunkLength reads the length in front of a chunk.
func chunkLength(r io.Reader) (int, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, ErrTorn
		}
		return 0, err
	}
	n := binary.BigEndian.Uint32(b[:])
	body := int(n) - nonceSize - tagSize
	if n > nonceSize+tagSize+chunkRecords*recordSize || body <= 0 || body%recordSize != 0 {
		return 0, fmt.Errorf("%w: a chunk of %d bytes", errSegment, n)
	}
	return int(n), nil
}

// readSegment gives the records of a segment to yield until that returns false.
// [ErrTorn] comes after the last good record.
func readSegment(src io.Reader, k key, yield func(Record) bool) error {
	r := bufio.NewReader(src)
	head := make([]byte, len(segmentMagic)+idSize+8+1)
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	service := make([]byte, head[len(head)-1])
	if _, err := io.ReadFull(r, service); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	header := append(head, service...)
	magic, unit := segmentMagic, time.Microsecond
	if string(head[:len(magicMillis)]) == magicMillis {
		magic, unit = magicMillis, time.Millisecond
	}
	if !bytes.Equal(header, segmentHeader(magic, k, string(service))) {
		return errSegment
	}
	aead := newAEAD(k.secret)
	var sealed, plain []byte
	for {
		n, err := chunkLength(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if cap(sealed) < n {
			sealed = make([]byte, n)
		}
		sealed = sealed[:n]
		if _, err := io.ReadFull(r, sealed); err != nil {
			return fmt.Errorf("%w: %w", ErrTorn, err)
		}
		if plain, err = aead.Open(plain[:0], sealed[:nonceSize], sealed[nonceSize:], header); err != nil {
			return fmt.Errorf("%w: %w", errSegment, err)
		}
		for b := plain; len(b) > 0; b = b[recordSize:] {
			rec := Record{
				Time:    k.start.Add(time.Duration(binary.BigEndian.Uint32(b)) * unit),
				Address: netip.AddrFrom16([16]byte(b[4:])).Unmap(),
				Service: string(service),
				Class:   Class(b[20]),
			}
			if !yield(rec) {
				return nil
			}
		}
	}
}

// byStart orders keys as their hours.
func byStart(a, b key) int { return cmp.Or(a.start.Compare(b.start), a.expires.Compare(b.expires)) }
