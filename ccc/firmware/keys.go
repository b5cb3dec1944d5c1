package firmware

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
)

// KeyID names a public key in an image.
type KeyID [8]byte

// IDOf gives the id of a key.
func IDOf(key ed25519.PublicKey) KeyID {
	sum := sha256.Sum256(key)
	return KeyID(sum[:8])
}

// String is 16 digits of hex.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Keys are the public keys whose images are taken.
type Keys map[KeyID]ed25519.PublicKey

// NewKeys makes a set of keys.
func NewKeys(keys ...ed25519.PublicKey) Keys {
	set := make(Keys, len(keys))
	for _, k := range keys {
		set[IDOf(k)] = k
	}
	return set
}

// Types of the PEM blocks.
const (
	publicBlock  = "PUBLIC KEY"
	privateBlock = "PRIVATE KEY"
)

// errKeyFile: a file is not what a key is read from.
var errKeyFile = errors.New("no Ed25519 key in PEM")

// ParsePublic reads one or more public keys in PEM.
func ParsePublic(text []byte) (Keys, error) {
	set := make(Keys)
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != publicBlock {
			return nil, fmt.Errorf("%w: a block %q, want %q", errKeyFile, block.Type, publicBlock)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errKeyFile, err)
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("%w: the key is a %T", errKeyFile, parsed)
		}
		set[IDOf(key)] = key
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("%w: no block %q", errKeyFile, publicBlock)
	}
	return set, nil
}

// ReadKeys reads the public keys of all files.
func ReadKeys(files ...string) (Keys, error) {
	all := make(Keys)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("firmware keys: %w", err)
		}
		set, err := ParsePublic(text)
		if err != nil {
			return nil, fmt.Errorf("firmware keys: %s: %w", file, err)
		}
		maps.Copy(all, set)
	}
	return all, nil
}

// EncodePublic is the PEM of a public key.
func EncodePublic(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}), err
}

// ParsePrivate reads a private key in PEM.
func ParsePrivate(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != privateBlock {
		return nil, fmt.Errorf("%w: no block %q", errKeyFile, privateBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeyFile, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: the key is a %T", errKeyFile, parsed)
	}
	return key, nil
}

// EncodePrivate is the PEM of a private key.
func EncodePrivate(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), err
}
