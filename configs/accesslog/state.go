package accesslog

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// The layout of the state file, see the package doc.
const (
	stateName  = "state"
	clockAt    = 0
	kekAt      = 1024
	ringAt     = 2048
	smallSlot  = 512
	ringSlot   = 32 << 10
	stateSize  = ringAt + 2*ringSlot
	ringHeader = 8 + 4
	keySize    = 32
	idSize     = 8
	entrySize  = idSize + 8 + 8 + keySize
	// maxKeys is the number of segments: an hour has one, and another when the clock
	// was changed. Beyond it the oldest are deleted early.
	maxKeys = 512
)

var (
	clockMagic = []byte("AXC1")
	kekMagic   = []byte("AXK1")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// errState: the state file holds no key ring that can be opened.
var errState = errors.New("the keys of the access log cannot be opened")

type segmentID [idSize]byte

func (id segmentID) String() string { return hex.EncodeToString(id[:]) }

// key is a segment's entry in the ring.
type key struct {
	id      segmentID
	start   time.Time // hour, by the system's clock
	expires time.Time // by the log's clock
	secret  [keySize]byte
}

func newKey() (id segmentID, secret [keySize]byte, err error) {
	if _, err = rand.Read(id[:]); err == nil {
		_, err = rand.Read(secret[:])
	}
	return id, secret, err
}

// ring is the keys of all segments, oldest expiry first.
type ring []key

func (r ring) encode() []byte {
	out := make([]byte, 0, len(r)*entrySize)
	for _, k := range r {
		out = append(out, k.id[:]...)
		out = binary.BigEndian.AppendUint64(out, uint64(k.start.Unix()))   //nolint:gosec // and back
		out = binary.BigEndian.AppendUint64(out, uint64(k.expires.Unix())) //nolint:gosec // and back
		out = append(out, k.secret[:]...)
	}
	return out
}

func decodeRing(b []byte) (ring, error) {
	if len(b)%entrySize != 0 || len(b) > maxKeys*entrySize {
		return nil, fmt.Errorf("%w: a ring of %d bytes", errState, len(b))
	}
	r := make(ring, 0, len(b)/entrySize)
	for e := range slices.Chunk(b, entrySize) {
		k := key{id: segmentID(e[:idSize]), secret: [keySize]byte(e[idSize+16:])}
		k.start = time.Unix(int64(binary.BigEndian.Uint64(e[idSize:])), 0).UTC()     //nolint:gosec // as encoded
		k.expires = time.Unix(int64(binary.BigEndian.Uint64(e[idSize+8:])), 0).UTC() //nolint:gosec // as encoded
		r = append(r, k)
	}
	return r, nil
}

// find gives the key of a segment.
func (r ring) find(id segmentID) (key, bool) {
	i := slices.IndexFunc(r, func(k key) bool { return k.id == id })
	if i < 0 {
		return key{}, false
	}
	return r[i], true
}

// state is the open state file. Owned by the worker.
type state struct {
	f     *os.File
	fault func(string) error

	clockSeq uint64
	n        uint64
	kek      [keySize]byte
	ring     ring
}

// openState opens the state file for writing, and makes it where there is none. fresh
// reports that there was one and its keys could not be opened: a new ring was begun.
func openState(path string, fault func(string) error) (s *state, saved moment, fresh bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, saved, false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	image, err := io.ReadAll(io.LimitReader(f, stateSize))
	if err != nil {
		return nil, saved, false, err
	}
	made := len(image) == 0
	if len(image) < stateSize {
		// Written, not just extended: the blocks have to be there when the disk is full.
		if _, err := f.WriteAt(make([]byte, stateSize-len(image)), int64(len(image))); err != nil {
			return nil, saved, false, err
		}
		image = append(image, make([]byte, stateSize-len(image))...)
	}
	s = &state{f: f, fault: fault}
	saved, s.clockSeq = decodeClock(image)
	if err := s.decode(image); err != nil {
		if _, err := rand.Read(s.kek[:]); err != nil {
			return nil, saved, false, err
		}
		s.n, s.ring = 0, nil
		fresh = !made
	}
	// This also finishes a change that was interrupted.
	return s, saved, fresh, s.save(s.ring)
}

// readState reads the state file of a log that another process may be writing.
func readState(path string) (ring, moment, error) {
	const tries = 5
	var last error
	for range tries {
		image, err := os.ReadFile(path)
		if err != nil {
			return nil, moment{}, err
		}
		if len(image) > stateSize {
			image = image[:stateSize]
		}
		s := new(state)
		if last = s.decode(image); last == nil {
			saved, _ := decodeClock(image)
			return s.ring, saved, nil
		}
	}
	return nil, moment{}, last
}

// decode finds the newest ring that opens with the newest key or the one after it, as
// is so when a change was interrupted.
func (s *state) decode(image []byte) error {
	if len(image) != stateSize {
		return fmt.Errorf("%w: %d bytes, want %d", errState, len(image), stateSize)
	}
	found := false
	for i := range 2 {
		n, rest, ok := openSlot(image[kekAt+i*smallSlot:][:smallSlot], kekMagic, keySize)
		if ok && (!found || n > s.n) {
			s.n, s.kek, found = n, [keySize]byte(rest), true
		}
	}
	if !found {
		return fmt.Errorf("%w: no key", errState)
	}
	next := ratchet(s.kek)
	for _, try := range []struct {
		n   uint64
		kek [keySize]byte
	}{{s.n + 1, next}, {s.n, s.kek}} {
		for i := range 2 {
			plain, err := openRing(image[ringAt+i*ringSlot:][:ringSlot], try.n, try.kek)
			if err != nil {
				continue
			}
			if s.ring, err = decodeRing(plain); err != nil {
				return err
			}
			s.n, s.kek = try.n, try.kek
			return nil
		}
	}
	return fmt.Errorf("%w: no ring", errState)
}

// save makes the ring the current one, under the next key, and wipes the ones before.
func (s *state) save(r ring) error {
	if err := s.fault("state"); err != nil {
		return err
	}
	old, n, kek := s.n, s.n+1, ratchet(s.kek)
	slot, err := sealRing(r.encode(), n, kek)
	if err != nil {
		return err
	}
	if err := s.write(ringAt+int64(n%2)*ringSlot, slot); err != nil { //nolint:gosec // 0 or 1
		return err
	}
	if err := s.fault("ratchet"); err != nil {
		return err
	}
	if err := s.write(kekAt+int64(n%2)*smallSlot, sealSlot(kekMagic, n, kek[:])); err != nil { //nolint:gosec // 0 or 1
		return err
	}
	s.n, s.kek, s.ring = n, kek, r
	_, err = s.f.WriteAt(make([]byte, smallSlot), kekAt+int64(old%2)*smallSlot) //nolint:gosec // 0 or 1
	if err != nil {
		return err
	}
	return s.write(ringAt+int64(old%2)*ringSlot, make([]byte, ringSlot)) //nolint:gosec // 0 or 1
}

// saveClock keeps a moment.
func (s *state) saveClock(m moment) error {
	if err := s.fault("clock"); err != nil {
		return err
	}
	s.clockSeq++
	body := binary.BigEndian.AppendUint64(nil, uint64(m.log.UnixNano()))                          //nolint:gosec // and back
	body = binary.BigEndian.AppendUint64(body, uint64(m.wall.UnixNano()))                         //nolint:gosec // and back
	return s.write(clockAt+int64(s.clockSeq%2)*smallSlot, sealSlot(clockMagic, s.clockSeq, body)) //nolint:gosec // 0 or 1
}

func (s *state) write(at int64, b []byte) error {
	if _, err := s.f.WriteAt(b, at); err != nil {
		return err
	}
	return s.f.Sync()
}

func (s *state) close() error { return s.f.Close() }

func decodeClock(image []byte) (m moment, seq uint64) {
	for i := range 2 {
		at := clockAt + i*smallSlot
		if len(image) < at+smallSlot {
			break
		}
		n, body, ok := openSlot(image[at:][:smallSlot], clockMagic, 16)
		if ok && n > seq {
			seq = n
			m.log = time.Unix(0, int64(binary.BigEndian.Uint64(body))).UTC()      //nolint:gosec // as encoded
			m.wall = time.Unix(0, int64(binary.BigEndian.Uint64(body[8:]))).UTC() //nolint:gosec // as encoded
		}
	}
	return m, seq
}

// sealSlot makes a small slot: magic, number, body, checksum.
func sealSlot(magic []byte, n uint64, body []byte) []byte {
	out := binary.BigEndian.AppendUint64(bytes.Clone(magic), n)
	out = append(out, body...)
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
	return append(out, make([]byte, smallSlot-len(out))...)
}

func openSlot(slot, magic []byte, size int) (n uint64, body []byte, ok bool) {
	end := len(magic) + 8 + size
	if !bytes.HasPrefix(slot, magic) || crc32.Checksum(slot[:end], castagnoli) != binary.BigEndian.Uint32(slot[end:]) {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(slot[len(magic):]), slot[len(magic)+8 : end], true
}

func sealRing(plain []byte, n uint64, kek [keySize]byte) ([]byte, error) {
	aead := newAEAD(kek)
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint64(nil, n)
	out = binary.BigEndian.AppendUint32(out, uint32(len(nonce)+len(plain)+aead.Overhead())) //nolint:gosec // below ringSlot
	out = append(out, nonce...)
	out = aead.Seal(out, nonce, plain, out[:ringHeader])
	return append(out, make([]byte, ringSlot-len(out))...), nil
}

func openRing(slot []byte, n uint64, kek [keySize]byte) ([]byte, error) {
	if binary.BigEndian.Uint64(slot) != n {
		return nil, errState
	}
	aead := newAEAD(kek)
	size := int(binary.BigEndian.Uint32(slot[8:]))
	if size < aead.NonceSize()+aead.Overhead() || size > len(slot)-ringHeader {
		return nil, errState
	}
	nonce, sealed := slot[ringHeader:][:aead.NonceSize()], slot[ringHeader+aead.NonceSize():ringHeader+size]
	return aead.Open(nil, nonce, sealed, slot[:ringHeader])
}

// ratchet gives the key after a key.
func ratchet(kek [keySize]byte) [keySize]byte {
	next, err := hkdf.Key(sha256.New, kek[:], nil, "comtrexx access log key ring", keySize)
	if err != nil {
		panic(err) // the length is one that SHA-256 allows
	}
	return [keySize]byte(next)
}

func newAEAD(k [keySize]byte) cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the length is one of AES
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return aead
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeFile removes a file; that it is not there is no error.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
