package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// errShape: what a key file has to hold.
var errShape = errors.New("is not a key: 32 random bytes in base64 or hex are expected, on one line")

// errTwice: a key is among those before it.
var errTwice = errors.New("is given twice")

// Load reads the key files: the first key seals, all of them open. Each file holds 32
// bytes in base64 (with or without padding, of either alphabet) or in hex. An error
// names the file.
func Load(files []configs.SecretFile) (*Keyring, error) {
	if len(files) == 0 {
		return nil, errors.New("no key file; make one with: ccc key new")
	}
	var ring Keyring
	for _, f := range files {
		text, err := f.Read()
		if err != nil {
			return nil, err
		}
		if err := ring.add(string(text)); err != nil {
			return nil, fmt.Errorf("key file %s %w", string(f), err)
		}
	}
	return &ring, nil
}

// New makes a keyring of at least one key, each as in a key file.
func New(texts ...string) (*Keyring, error) {
	if len(texts) == 0 {
		return nil, errors.New("no key")
	}
	var ring Keyring
	for i, text := range texts {
		if err := ring.add(text); err != nil {
			return nil, fmt.Errorf("key %d %w", i+1, err)
		}
	}
	return &ring, nil
}

// add takes one more key. Its errors go on after the name of the key.
func (k *Keyring) add(text string) error {
	raw, err := parse(text)
	if err != nil {
		return err
	}
	next, err := derive(raw)
	if err != nil {
		return fmt.Errorf("cannot be used: %w", err)
	}
	if slices.ContainsFunc(k.keys, func(o key) bool { return o.id == next.id }) {
		return errTwice
	}
	k.keys = append(k.keys, next)
	return nil
}

// NewKey makes a key for a key file: 32 random bytes in base64, without a newline.
func NewKey() string {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	return base64.StdEncoding.EncodeToString(raw)
}

// parse never puts what it reads into an error.
func parse(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	raw, err := hex.DecodeString(text)
	if err != nil || len(text) != 2*keySize {
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		if raw, err = base64.RawStdEncoding.Strict().DecodeString(plain); err != nil {
			return nil, errShape
		}
	}
	switch {
	case len(raw) != keySize:
		return nil, fmt.Errorf("%w; these are %d bytes", errShape, len(raw))
	case bytes.Count(raw, raw[:1]) == keySize:
		return nil, fmt.Errorf("%w; these are all the same", errShape)
	}
	return raw, nil
}

func derive(raw []byte) (key, error) {
	wrap, err1 := hkdf.Key(sha256.New, raw, nil, "ccc seal wrap v1", keySize)
	id, err2 := hkdf.Key(sha256.New, raw, nil, "ccc seal key id v1", idSize)
	mac, err3 := hkdf.Key(sha256.New, raw, nil, "ccc seal mac v1", keySize)
	if err := errors.Join(err1, err2, err3); err != nil {
		return key{}, err
	}
	gcm, err := aead(wrap)
	return key{id: [idSize]byte(id), wrap: gcm, mac: mac}, err
}
