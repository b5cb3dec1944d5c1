// Package canary makes texts that are nowhere in the world until they are sent
// somewhere, and finds them again in whatever form somebody has kept them. A test that
// something is not stored sends one, looks for it, and shows with another one that it
// would have found it.
package canary

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// Canary is a text that is nowhere in the world, until it is sent somewhere.
type Canary string

// New gives one that nobody has had before.
func New() Canary { return Canary("canary-" + rand.Text()) }

// Forms are how a canary could lie about where somebody has read it: as it is, and
// in the encodings in which programs keep and send what they have read.
func (c Canary) Forms(t testing.TB) map[string][]byte {
	t.Helper()
	plain := []byte(c)
	reversed := slices.Clone(plain)
	slices.Reverse(reversed)
	utf16 := make([]byte, 0, 2*len(plain))
	for _, b := range plain {
		utf16 = append(utf16, b, 0)
	}
	forms := map[string][]byte{
		"plain": plain, "reversed": reversed, "UTF-16": utf16[:len(utf16)-1],
		"hex": []byte(hex.EncodeToString(plain)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(plain))),
		"deflate": deflate(t, plain), // the inside of gzip, zlib and PNG
	}
	// base64 depends on where in a text the canary stands.
	for shift, name := range []string{"base64", "base64, shifted by 1", "base64, shifted by 2"} {
		padded := append(make([]byte, shift), plain...)
		whole := len(padded) / 3 * 3
		first := (shift*8 + 5) / 6 // characters that hold bits from before the canary
		forms[name] = []byte(base64.RawStdEncoding.EncodeToString(padded[:whole]))[first:]
	}
	return forms
}

// deflate compresses a text on its own. That of a longer text could look different;
// so this finds only who compresses what it reads piece by piece.
func deflate(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Message is a text that holds the canary in all its forms.
func (c Canary) Message(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, form := range c.Forms(t) {
		out.Write(form)
		out.WriteString("\r\n")
	}
	return out.Bytes()
}

// Found lists the forms in which where holds the canary.
func (c Canary) Found(t testing.TB, where func([]byte) bool) (forms []string) {
	t.Helper()
	for name, form := range c.Forms(t) {
		if where(form) {
			forms = append(forms, name)
		}
	}
	slices.Sort(forms)
	return forms
}
