package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strings"
)

// labelLen is the length of a label: 128 bits in base32.
const labelLen = 26

var labelCode = base32.StdEncoding.WithPadding(base32.NoPadding)

// newLabel draws a label.
func newLabel() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(labelCode.EncodeToString(b[:]))
}

// isLabel reports whether s could be one.
func isLabel(s string) bool {
	return len(s) == labelLen && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '2' || r > '7') })
}

// hash is the SHA-256 of a secret that a browser has; secrets themselves are not kept.
type hash [sha256.Size]byte

// newSecret draws 256 bits for a cookie, and gives their hash.
func newSecret() (text string, h hash) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	text = base64.RawURLEncoding.EncodeToString(b[:])
	return text, hashOf(text)
}

func hashOf(text string) hash { return sha256.Sum256([]byte(text)) }
