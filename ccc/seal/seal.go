// Package seal encrypts the secrets that are kept in a database, so that a copy of the
// database alone gives none of them. Each record has a random key of its own, which
// is wrapped by a key from a file (envelope encryption), both with AES-256-GCM
// (NIST SP 800-38D).
//
// A sealed record is bound to its purpose and its id: taken to another record, or to
// another column, it does not open.
//
// # Layout
//
//	offset  bytes  what
//	0       1      version: 1
//	1       8      id of the wrapping key
//	9       12     nonce of the wrapped key
//	21      32     the record's key, encrypted
//	53      16     tag of the wrapped key
//	69      12     nonce of the record
//	81      n      the record, encrypted
//	81+n    16     tag of the record
//
// Authenticated with both (as additional data): the words "ccc seal record", version
// and key id for the wrapped key alone, then purpose and id, each with its length
// in 4 bytes, big endian, before it. The wrapping key and its id are derived from
// the 32 bytes of the file by HKDF-SHA256 (RFC 5869) with the infos "ccc seal wrap v1"
// and "ccc seal key id v1"; the key of [Keyring.MAC] with "ccc seal mac v1".
//
// # Change of the key
//
// Make a new key file, put it before the old one in the list, and start again: new
// records are sealed with the new key, old ones still open. [Keyring.Reseal] takes
// old ones to the new key without touching what is inside. When none is left, the
// old file can go.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

var (
	// ErrSealed: the bytes are not a sealed record, were changed, or belong to another
	// record or purpose.
	ErrSealed = errors.New("sealed record does not open")
	// ErrKey: the record is sealed with a key that is not in the keyring.
	ErrKey = errors.New("sealed with a key that is not there")
)

const (
	version   = 1
	keySize   = 32
	idSize    = 8
	gcmExtra  = 12 + 16 // nonce and tag
	headSize  = 1 + idSize
	wrapSize  = keySize + gcmExtra
	bodyStart = headSize + wrapSize
)

// Overhead is how many bytes a sealed record is longer than what is in it.
const Overhead = bodyStart + gcmExtra

// Keyring holds the keys. It can be used by several goroutines at once, and prints
// as the ids of its keys.
type Keyring struct {
	keys []key // the first seals
}

type key struct {
	id   [idSize]byte
	wrap cipher.AEAD
	mac  []byte
}

// Seal encrypts plain for the record that purpose and id name. Both are free text;
// they are needed again to open it and are not in the result.
func (k *Keyring) Seal(purpose, id string, plain []byte) ([]byte, error) {
	data := make([]byte, keySize)
	_, _ = rand.Read(data) // never fails
	body, err := aead(data)
	if err != nil {
		return nil, err
	}
	out := k.wrap(make([]byte, 0, len(plain)+Overhead), data, purpose, id)
	return body.Seal(out, nil, plain, context(nil, purpose, id)), nil
}

// wrap appends the head and the wrapped key of a record to out.
func (k *Keyring) wrap(out, data []byte, purpose, id string) []byte {
	first := k.keys[0]
	out = append(append(out, version), first.id[:]...)
	return first.wrap.Seal(out, nil, data, context(out, purpose, id))
}

// Open decrypts what Seal made. The error wraps [ErrSealed], or [ErrKey] where the key
// that it was sealed with is missing.
func (k *Keyring) Open(purpose, id string, sealed []byte) ([]byte, error) {
	data, _, err := k.unwrap(purpose, id, sealed)
	if err != nil {
		return nil, err
	}
	body, err := aead(data)
	if err != nil {
		return nil, err
	}
	plain, err := body.Open(nil, nil, sealed[bodyStart:], context(nil, purpose, id))
	if err != nil {
		return nil, fmt.Errorf("%w: it was changed", ErrSealed)
	}
	return plain, nil
}

// Reseal gives the record wrapped by the first key. Changed is false, and the result
// is sealed itself, where it already is. The errors are those of Open.
func (k *Keyring) Reseal(purpose, id string, sealed []byte) (out []byte, changed bool, err error) {
	data, first, err := k.unwrap(purpose, id, sealed)
	if err != nil || first {
		return sealed, false, err
	}
	out = k.wrap(make([]byte, 0, len(sealed)), data, purpose, id)
	return append(out, sealed[bodyStart:]...), true, nil
}

// Head is what each record begins with that the first key wraps, so that a store can look
// for the others.
func (k *Keyring) Head() []byte {
	first := k.keys[0]
	return append([]byte{version}, first.id[:]...)
}

// unwrap gives the record's key, and whether the first key wraps it.
func (k *Keyring) unwrap(purpose, id string, sealed []byte) (data []byte, first bool, err error) {
	switch {
	case len(sealed) < Overhead:
		return nil, false, fmt.Errorf("%w: %d bytes, want %d or more", ErrSealed, len(sealed), Overhead)
	case sealed[0] != version:
		return nil, false, fmt.Errorf("%w: version %d, want %d", ErrSealed, sealed[0], version)
	}
	head := sealed[:headSize]
	for i, key := range k.keys {
		if !bytes.Equal(head[1:], key.id[:]) {
			continue
		}
		data, err := key.wrap.Open(nil, nil, sealed[headSize:bodyStart], context(head, purpose, id))
		if err != nil {
			return nil, false, fmt.Errorf("%w: it was changed, or it belongs to another record", ErrSealed)
		}
		return data, i == 0, nil
	}
	return nil, false, fmt.Errorf("%w: key %s; add its file to the key files", ErrKey, hex.EncodeToString(head[1:]))
}

// MAC gives 32 bytes that stand for data, and that nobody can try guesses against who does
// not have the first key. With another first key they are others.
func (k *Keyring) MAC(purpose, id string, data []byte) []byte {
	mac := hmac.New(sha256.New, k.keys[0].mac)
	mac.Write(context(nil, purpose, id))
	mac.Write(data)
	return mac.Sum(nil)
}

// IDs gives the ids of the keys in hex, the one that seals first.
func (k *Keyring) IDs() []string {
	ids := make([]string, len(k.keys))
	for i, key := range k.keys {
		ids[i] = hex.EncodeToString(key.id[:])
	}
	return ids
}

// String gives the ids of the keys.
func (k *Keyring) String() string { return fmt.Sprintf("keys %v", k.IDs()) }

// GoString gives the same as String: %#v shows no key.
func (k *Keyring) GoString() string { return k.String() }

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// context gives the additional data.
func context(head []byte, purpose, id string) []byte {
	out := append([]byte("ccc seal record"), head...)
	for _, s := range []string{purpose, id} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(s))) //nolint:gosec // far below 4 GiB
		out = append(out, s...)
	}
	return out
}
