package firmware

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/semver"
)

// Limits of an image. A PBX may take less.
const (
	MaxManifest = 64 << 10
	MaxPayload  = 4 << 30
	maxText     = 64   // bytes of model and version
	maxNotes    = 8000 // bytes of the notes in one language
)

// Languages are those that notes can be in.
var Languages = []string{"de", "en", "fr"}

// Manifest is what is signed. Its fields are in the order of their names: that is what
// makes its JSON canonical.
type Manifest struct {
	// MinVersion is the oldest version that the image can be installed over; empty: any.
	MinVersion string `json:"min_version,omitempty"`
	// Model is the PBX's, as its API names it.
	Model string `json:"model"`
	// Notes say what is new, by language; see [Languages].
	Notes map[string]string `json:"notes,omitempty"`
	// Released is a date, YYYY-MM-DD.
	Released string `json:"released"`
	// SHA256 of the payload, in lower-case hex, and Size, its bytes; Pack sets both.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Version is a semantic version without "v", as in 2.1.0 or 2.1.0-rc.1.
	Version string `json:"version"`
}

// ErrFormat: the bytes are no image, or its manifest cannot be used.
var ErrFormat = errors.New("not a firmware image")

// ValidVersion tells whether v is a semantic version as a manifest has it.
func ValidVersion(v string) bool {
	return len(v) <= maxText && semver.IsValid("v"+v) && semver.Canonical("v"+v)+semver.Build("v"+v) == "v"+v
}

// Compare is below zero where the version a is older than b, and above it where a is newer.
// What is no version is older than every version.
func Compare(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// check names the first field that cannot be used.
func (m *Manifest) check() error {
	bad := func(field, problem string) error { return fmt.Errorf("%w: manifest: %s %s", ErrFormat, field, problem) }
	switch sum, err := hex.DecodeString(m.SHA256); {
	case m.Model == "" || len(m.Model) > maxText || !printable(m.Model, false):
		return bad("model", fmt.Sprintf("is not a printable name of 1 to %d bytes", maxText))
	case !ValidVersion(m.Version):
		return bad("version", "is not a version as 2.1.0")
	case m.MinVersion != "" && !ValidVersion(m.MinVersion):
		return bad("min_version", "is not a version as 2.1.0")
	case err != nil || len(sum) != 32 || strings.ToLower(m.SHA256) != m.SHA256:
		return bad("sha256", "is not 64 digits of lower-case hex")
	case m.Size < 1 || m.Size > MaxPayload:
		return bad("size", fmt.Sprintf("is not from 1 to %d", int64(MaxPayload)))
	}
	if _, err := time.Parse(time.DateOnly, m.Released); err != nil {
		return bad("released", "is not a date as 2026-11-26")
	}
	for lang, text := range m.Notes {
		if !slices.Contains(Languages, lang) {
			return bad("notes", fmt.Sprintf("have the language %q, want %s", lang, strings.Join(Languages, ", ")))
		}
		if text == "" || len(text) > maxNotes || !printable(text, true) {
			return bad("notes."+lang, fmt.Sprintf("are not printable text of 1 to %d bytes", maxNotes))
		}
	}
	return nil
}

// printable tells whether encoding/json writes s as RFC 8785 does: it does for all that
// people read, and escapes some separators that they do not.
func printable(s string, lines bool) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) && (!lines || r != '\n') })
}

// Encode gives the canonical JSON of a manifest, as it is signed. Errors wrap [ErrFormat].
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decodeManifest reads a manifest in its canonical form.
func decodeManifest(data []byte) (m Manifest, err error) {
	if err := json.Unmarshal(data, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: manifest: %w", ErrFormat, err)
	}
	again, err := m.Encode()
	if err != nil {
		return Manifest{}, err
	}
	if !bytes.Equal(data, again) {
		return Manifest{}, fmt.Errorf("%w: the manifest is not in its canonical form", ErrFormat)
	}
	return m, nil
}
