package firmware

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Parts of the header; see the package doc.
const (
	magic    = "CTXFW\r\n\x01"
	fixedLen = len(magic) + len(KeyID{}) + 4
)

// Why an image is not taken, besides [ErrFormat].
var (
	// ErrKey: it is signed by a key that is not known here.
	ErrKey = errors.New("the firmware image is signed by an unknown key")
	// ErrSignature: the signature is not that of the key that it names.
	ErrSignature = errors.New("the signature of the firmware image is wrong")
	// ErrPayload: the payload is not the one that was signed.
	ErrPayload = errors.New("the contents of the firmware image are not those that were signed")
)

// Image is an image whose header has been read. It reads the payload.
type Image struct {
	Manifest Manifest
	// Key is the one that it says it is signed by.
	Key KeyID
	// HeaderLen is how many bytes come before the payload.
	HeaderLen int64

	from io.Reader
	sum  hash.Hash
	left int64
	err  error // of the last Read
}

// Open reads the header of an image and verifies it against keys. Errors wrap [ErrFormat],
// [ErrKey] or [ErrSignature], or are those of r.
func Open(r io.Reader, keys Keys) (*Image, error) {
	img, signed, signature, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	key, ok := keys[img.Key]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrKey, img.Key)
	}
	if !ed25519.Verify(key, signed, signature) {
		return nil, ErrSignature
	}
	// Who may sign is known now; before, nothing of the manifest is looked at.
	if img.Manifest, err = decodeManifest(signed[fixedLen:]); err != nil {
		return nil, err
	}
	img.left = img.Manifest.Size
	return img, nil
}

// Inspect reads the header without any key: what it says is not verified.
func Inspect(r io.Reader) (*Image, error) {
	img, signed, _, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if img.Manifest, err = decodeManifest(signed[fixedLen:]); err != nil {
		return nil, err
	}
	img.left = img.Manifest.Size
	return img, nil
}

// Verify reads a whole image.
func Verify(r io.Reader, keys Keys) (*Image, error) {
	img, err := Open(r, keys)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, img)
	return img, err
}

// readHeader gives the bytes that are signed, and the signature over them.
func readHeader(r io.Reader) (img *Image, signed, signature []byte, err error) {
	signed = make([]byte, fixedLen, 1024)
	if err := readAll(r, signed); err != nil {
		return nil, nil, nil, err
	}
	if string(signed[:len(magic)]) != magic {
		return nil, nil, nil, fmt.Errorf("%w: it begins differently", ErrFormat)
	}
	img = &Image{Key: KeyID(signed[len(magic):]), from: r, sum: sha256.New()}
	n := int64(binary.BigEndian.Uint32(signed[fixedLen-4:]))
	if n < 1 || n > MaxManifest {
		return nil, nil, nil, fmt.Errorf("%w: a manifest of %d bytes, want 1 to %d", ErrFormat, n, MaxManifest)
	}
	signed = append(signed, make([]byte, n)...)
	signature = make([]byte, ed25519.SignatureSize)
	for _, part := range [][]byte{signed[fixedLen:], signature} {
		if err := readAll(r, part); err != nil {
			return nil, nil, nil, err
		}
	}
	img.HeaderLen = int64(len(signed) + len(signature))
	return img, signed, signature, nil
}

func readAll(r io.Reader, into []byte) error {
	_, err := io.ReadFull(r, into)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends in the header", ErrFormat)
	}
	return err
}

// Read reads the payload. At its end it gives io.EOF only where the payload is the one that
// was signed and nothing follows it; otherwise an error that wraps [ErrPayload]. Until then
// nothing that was read may be used.
func (i *Image) Read(b []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	if i.left == 0 {
		i.err = i.end()
		return 0, i.err
	}
	n, err := i.from.Read(b[:min(int64(len(b)), i.left)])
	_, _ = i.sum.Write(b[:n]) // never fails
	i.left -= int64(n)
	switch {
	case i.left == 0 && (err == nil || errors.Is(err, io.EOF)):
	case errors.Is(err, io.EOF):
		i.err = fmt.Errorf("%w: %d bytes are missing", ErrPayload, i.left)
	default:
		i.err = err
	}
	return n, i.err
}

// end looks at what has been read.
func (i *Image) end() error {
	switch n, err := io.ReadFull(i.from, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("%w: more follows", ErrPayload)
	case !errors.Is(err, io.EOF):
		return err
	}
	if got := hex.EncodeToString(i.sum.Sum(nil)); got != i.Manifest.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is %s", ErrPayload, got)
	}
	return io.EOF
}
