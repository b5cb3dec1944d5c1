package clients

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

// canary is a text that is nowhere in the world, until it is sent somewhere.
type canary string

func newCanary() canary { return canary("canary-" + rand.Text()) }

// forms are how a canary could lie about where somebody has read it: as it is, and
// in the encodings in which programs keep and send what they have read.
func (c canary) forms(t *testing.T) map[string][]byte {
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
func deflate(t *testing.T, b []byte) []byte {
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

// message is a text that holds the canary in all its forms.
func (c canary) message(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, form := range c.forms(t) {
		out.Write(form)
		out.WriteString("\r\n")
	}
	return out.Bytes()
}

// found lists the forms in which where holds the canary.
func (c canary) found(t *testing.T, where func([]byte) bool) (forms []string) {
	t.Helper()
	for name, form := range c.forms(t) {
		if where(form) {
			forms = append(forms, name)
		}
	}
	slices.Sort(forms)
	return forms
}

func TestCanaryForms(t *testing.T) {
	t.Parallel()
	c := newCanary()
	for _, prefix := range []string{"", "x", "xy", "xyz"} {
		text := []byte(prefix + string(c) + "and so on")
		for name, encoded := range map[string]string{
			"plain": string(text), "hex": hex.EncodeToString(text),
			"base64": base64.StdEncoding.EncodeToString(text),
		} {
			forms := c.found(t, func(form []byte) bool { return strings.Contains(encoded, string(form)) })
			if !slices.ContainsFunc(forms, func(form string) bool { return strings.HasPrefix(form, name) }) {
				t.Errorf("%s of %q is not recognised: %q", name, text, forms)
			}
		}
	}
	if forms := c.found(t, func(form []byte) bool { return bytes.Contains(newCanary().message(t), form) }); forms != nil {
		t.Errorf("another canary is taken for it: %q", forms)
	}
}
