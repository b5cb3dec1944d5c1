package firmware

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
)

// Pack writes an image of the payload, which is read twice, and gives its manifest with
// SHA256 and Size. Errors about m wrap [ErrFormat].
func Pack(w io.Writer, payload io.ReadSeeker, m Manifest, key ed25519.PrivateKey) (Manifest, error) {
	sum := sha256.New()
	size, err := io.Copy(sum, payload)
	if err != nil {
		return m, err
	}
	m.SHA256, m.Size = hex.EncodeToString(sum.Sum(nil)), size
	header, err := m.header(key)
	if err != nil {
		return m, err
	}
	if _, err := payload.Seek(-size, io.SeekCurrent); err != nil {
		return m, err
	}
	if _, err := w.Write(header); err != nil {
		return m, err
	}
	again, err := io.Copy(w, payload)
	if err == nil && again != size {
		err = fmt.Errorf("the payload had %d bytes and then %d", size, again)
	}
	return m, err
}

// header is all before the payload.
func (m *Manifest) header(key ed25519.PrivateKey) ([]byte, error) {
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if len(text) > MaxManifest {
		return nil, fmt.Errorf("%w: a manifest of %d bytes, want at most %d", ErrFormat, len(text), MaxManifest)
	}
	id := IDOf(key.Public().(ed25519.PublicKey))
	header := append([]byte(magic), id[:]...)
	header = binary.BigEndian.AppendUint32(header, uint32(len(text))) //nolint:gosec // at most MaxManifest
	header = append(header, text...)
	return append(header, ed25519.Sign(key, header)...), nil
}
