// Package password hashes and compares what PBXs keep of passwords and tokens:
// Argon2id (RFC 9106), with a bound on how much of it runs at once.
//
// One [Hasher] may serve any number of PBXs in a process; that it is shared is what
// bounds the memory.
package password

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"sync"

	"github.com/alexedwards/argon2id"
)

// Cost is what one hash costs.
type Cost struct {
	// Memory in KiB. Default 19456, as OWASP's Password Storage Cheat Sheet has it.
	Memory uint32
	// Passes over the memory. Default 2.
	Passes uint32
}

// Cheap is a cost for tests and simulations, in which nothing is worth guessing.
var Cheap = Cost{Memory: 8, Passes: 1}

// Bounds of the cost that a stored hash may ask for.
const (
	maxMemory = 256 << 10
	maxPasses = 16
)

// ErrHash: the stored hash is none, or would cost too much to compare with.
var ErrHash = errors.New("not a usable Argon2id hash")

// Hasher hashes and compares. Its methods are safe for concurrent use.
type Hasher struct {
	params *argon2id.Params
	places chan struct{} // one element per hash that is being made
	decoy  func() string
}

// NewHasher makes a hasher that works on at most so many hashes at once; others wait.
// Zero values of the cost stand for the defaults.
func NewHasher(c Cost, atOnce int) *Hasher {
	p := &argon2id.Params{Memory: 19456, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	if c.Memory > 0 {
		p.Memory = c.Memory
	}
	if c.Passes > 0 {
		p.Iterations = c.Passes
	}
	h := &Hasher{params: p, places: make(chan struct{}, max(atOnce, 1))}
	h.decoy = sync.OnceValue(func() string {
		hash, err := argon2id.CreateHash(rand.Text(), p)
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		return hash
	})
	return h
}

// Hash gives the hash in the PHC string format.
func (h *Hasher) Hash(ctx context.Context, secret string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	return argon2id.CreateHash(secret, h.params)
}

// Compare tells whether the hash is that of the secret, in constant time. An empty
// hash is that of nothing; to find that out takes as long.
func (h *Hasher) Compare(ctx context.Context, secret, hash string) (bool, error) {
	known := hash != ""
	if known {
		p, _, _, err := argon2id.DecodeHash(hash)
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrHash, err)
		}
		// The library would take what the text says, and panic without a key.
		if p.Memory < 8 || p.Memory > maxMemory || p.Iterations < 1 || p.Iterations > maxPasses || p.Parallelism != 1 ||
			p.SaltLength < 8 || p.SaltLength > 64 || p.KeyLength < 16 || p.KeyLength > 64 {
			return false, fmt.Errorf("%w: m=%d,t=%d,p=%d", ErrHash, p.Memory, p.Iterations, p.Parallelism)
		}
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	if !known {
		_, err := argon2id.ComparePasswordAndHash(secret, h.decoy())
		return false, err
	}
	return argon2id.ComparePasswordAndHash(secret, hash)
}

func (h *Hasher) enter(ctx context.Context) error {
	select {
	case h.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *Hasher) leave() { <-h.places }

// Random gives a password of 160 random bits, 32 characters of RFC 4648's base32.
func Random() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return base32.StdEncoding.EncodeToString(b[:])
}

// First gives a password of 80 random bits that a person can type: four groups of four
// small letters and digits.
func First() string {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789" // 32, without l and o, 0 and 1
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	text := make([]byte, 0, 19)
	for i, v := range b {
		if i > 0 && i%4 == 0 {
			text = append(text, '-')
		}
		text = append(text, alphabet[v%32])
	}
	return string(text)
}

// The bounds of passwords that people choose, in bytes (NIST SP 800-63B §5.1.1).
const (
	MinLen = 10
	MaxLen = 128
)
