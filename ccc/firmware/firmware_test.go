package firmware

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func newKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func sample() Manifest {
	return Manifest{
		Model: "COMtrexx <Business>", Version: "2.1.0", MinVersion: "1.0.0-sim", Released: "2026-11-26",
		Notes: map[string]string{"fr": "Corrections", "de": "Größere Änderungen\nzwei Zeilen & mehr", "en": "Fixes"},
	}
}

func pack(t testing.TB, m Manifest, payload []byte, key ed25519.PrivateKey) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Pack(&b, bytes.NewReader(payload), m, key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPackAndOpen(t *testing.T) {
	t.Parallel()
	key, payload := newKey(1), bytes.Repeat([]byte("firmware"), 1000)
	image := pack(t, sample(), payload, key)
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(image), "by bytes": iotest.OneByteReader(bytes.NewReader(image)), "EOF with data": iotest.DataErrReader(bytes.NewReader(image)),
	} {
		img, err := Open(r, NewKeys(publicOf(newKey(2)), publicOf(key)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(img)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		m := img.Manifest
		if m.Version != "2.1.0" || m.Size != int64(len(payload)) || !maps.Equal(m.Notes, sample().Notes) || img.Key != IDOf(publicOf(key)) {
			t.Errorf("%s: %+v", name, m)
		}
		if img.HeaderLen+m.Size != int64(len(image)) {
			t.Errorf("a header of %d bytes", img.HeaderLen)
		}
		if _, err := img.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}

// TestGolden keeps the layout: images that were made once can be read for ever.
func TestGolden(t *testing.T) {
	t.Parallel()
	m := sample()
	m.Notes = map[string]string{"en": "Fixes"}
	image := pack(t, m, []byte("payload\n"), newKey(1))
	file := filepath.Join("testdata", "sample.ctxfw")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := errors.Join(os.MkdirAll("testdata", 0o750), os.WriteFile(file, image, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(image, want) {
		t.Errorf("the layout has changed:\n%q\nwant\n%q", image, want)
	}
	if img, err := Verify(bytes.NewReader(want), NewKeys(publicOf(newKey(1)))); err != nil || img.Manifest.Version != "2.1.0" {
		t.Errorf("%+v, %v", img, err)
	}
}

// TestEveryByteCounts changes, removes and adds a byte at every place.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	key, other := newKey(1), newKey(2)
	keys := NewKeys(publicOf(key), publicOf(other))
	image := pack(t, sample(), []byte("a payload that nobody changes unseen"), key)
	if _, err := Verify(bytes.NewReader(image), keys); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, at int, changed []byte) {
		t.Helper()
		_, err := Verify(bytes.NewReader(changed), keys)
		known := errors.Is(err, ErrFormat) || errors.Is(err, ErrKey) || errors.Is(err, ErrSignature) || errors.Is(err, ErrPayload)
		if !known {
			t.Errorf("%s at %d: %v", what, at, err)
		}
	}
	for at := range image {
		changed := bytes.Clone(image)
		changed[at] ^= 1 << (at % 8)
		refused("changed", at, changed)
		refused("cut off", at, image[:at])
		refused("removed", at, append(bytes.Clone(image[:at]), image[at+1:]...))
		refused("added", at, append(append(bytes.Clone(image[:at]), 'x'), image[at:]...))
	}
	refused("added", len(image), append(bytes.Clone(image), 0))
	id := IDOf(publicOf(other))
	refused("another known key", len(magic), append(append(bytes.Clone(image[:len(magic)]), id[:]...), image[len(magic)+len(id):]...))
}

// TestWhatIsFound: which error it is.
func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	key := newKey(1)
	keys := NewKeys(publicOf(key))
	image := pack(t, sample(), []byte("payload"), key)
	at := func(i int) []byte {
		changed := bytes.Clone(image)
		changed[(i+len(image))%len(image)] ^= 1
		return changed
	}
	for name, tt := range map[string]struct {
		image []byte
		keys  Keys
		want  error
	}{
		"good":             {image, keys, nil},
		"no image":         {[]byte("PK\x03\x04 something else, long enough for a header"), keys, ErrFormat},
		"empty":            {nil, keys, ErrFormat},
		"no keys":          {image, nil, ErrKey},
		"another key":      {image, NewKeys(publicOf(newKey(3))), ErrKey},
		"manifest":         {at(fixedLen + 5), keys, ErrSignature},
		"payload":          {at(-1), keys, ErrPayload},
		"payload is short": {image[:len(image)-1], keys, ErrPayload},
		"more follows":     {append(bytes.Clone(image), 'x'), keys, ErrPayload},
		"a huge manifest":  {append([]byte(magic), bytes.Repeat([]byte{255}, 100)...), keys, ErrFormat},
	} {
		if _, err := Verify(bytes.NewReader(tt.image), tt.keys); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	broken := errors.New("the line broke")
	if _, err := Verify(io.MultiReader(bytes.NewReader(image[:len(image)-2]), iotest.ErrReader(broken)), keys); !errors.Is(err, broken) || errors.Is(err, ErrPayload) {
		t.Errorf("a broken line: %v", err)
	}
	if img, err := Inspect(bytes.NewReader(at(-1))); err != nil || img.Manifest.Version != "2.1.0" {
		t.Errorf("inspect: %v", err)
	}
}

// TestManifests that cannot be used are not packed.
func TestManifests(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*Manifest)
		field  string
	}{
		"good":            {func(*Manifest) {}, ""},
		"prerelease":      {func(m *Manifest) { m.Version = "3.0.0-rc.1+b2" }, ""},
		"no notes":        {func(m *Manifest) { m.Notes, m.MinVersion = nil, "" }, ""},
		"no model":        {func(m *Manifest) { m.Model = "" }, "model"},
		"a line":          {func(m *Manifest) { m.Model = "a\nb" }, "model"},
		"no version":      {func(m *Manifest) { m.Version = "" }, "version"},
		"v":               {func(m *Manifest) { m.Version = "v1.2.3" }, "version"},
		"short":           {func(m *Manifest) { m.Version = "1.2" }, "version"},
		"min":             {func(m *Manifest) { m.MinVersion = "old" }, "min_version"},
		"date":            {func(m *Manifest) { m.Released = "26.11.2026" }, "released"},
		"language":        {func(m *Manifest) { m.Notes["it"] = "x" }, "notes"},
		"separator":       {func(m *Manifest) { m.Notes["de"] = "a\u2028b" }, "notes.de"},
		"control":         {func(m *Manifest) { m.Notes["de"] = "a\x00" }, "notes.de"},
		"not UTF-8":       {func(m *Manifest) { m.Notes["de"] = "a\xff" }, "notes.de"},
		"too much to say": {func(m *Manifest) { m.Notes["de"] = strings.Repeat("x", maxNotes+1) }, "notes.de"},
	} {
		m := sample()
		tt.change(&m)
		_, err := Pack(io.Discard, strings.NewReader("x"), m, newKey(1))
		switch {
		case tt.field == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.field != "" && (!errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.field+" ")):
			t.Errorf("%s: %v, want something about %s", name, err, tt.field)
		}
	}
	if _, err := Pack(io.Discard, strings.NewReader(""), sample(), newKey(1)); !errors.Is(err, ErrFormat) {
		t.Errorf("an empty payload: %v", err)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	order := []string{"junk", "1.0.0-sim", "1.0.0", "1.0.1", "1.10.0", "2.0.0-rc.1", "2.0.0"}
	for i := range order[1:] {
		if Compare(order[i], order[i+1]) >= 0 || Compare(order[i+1], order[i]) <= 0 || Compare(order[i], order[i]) != 0 {
			t.Errorf("%s is not older than %s", order[i], order[i+1])
		}
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	key := newKey(1)
	private, err := EncodePrivate(key)
	if err != nil {
		t.Fatal(err)
	}
	one, err := EncodePublic(publicOf(key))
	if err != nil {
		t.Fatal(err)
	}
	two, err := EncodePublic(publicOf(newKey(2)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParsePrivate(private); err != nil || !got.Equal(key) {
		t.Errorf("private key: %v", err)
	}
	file := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(file, append(one, two...), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := ReadKeys(file); err != nil || len(keys) != 2 || !keys[IDOf(publicOf(key))].Equal(publicOf(key)) {
		t.Errorf("%v, %v", keys, err)
	}
	if _, err := ReadKeys(file, file+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
	for _, text := range [][]byte{nil, []byte("x"), private} {
		if _, err := ParsePublic(text); !errors.Is(err, errKeyFile) {
			t.Errorf("public key %.20q: %v", text, err)
		}
	}
	for _, text := range [][]byte{nil, []byte("x"), one} {
		if _, err := ParsePrivate(text); !errors.Is(err, errKeyFile) {
			t.Errorf("private key %.20q: %v", text, err)
		}
	}
}

// FuzzOpen: whatever the bytes are, nothing is taken that was not signed, and what is taken
// is what was packed.
func FuzzOpen(f *testing.F) {
	key := newKey(1)
	keys := NewKeys(publicOf(key))
	image := pack(f, sample(), []byte("payload"), key)
	f.Add(image)
	f.Add(image[:60])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := Verify(bytes.NewReader(data), keys)
		if err == nil && !bytes.Equal(data, image) {
			t.Errorf("taken: %q", data)
		}
		if seen, e := Inspect(bytes.NewReader(data)); err == nil && (e != nil || seen.Manifest.Version != img.Manifest.Version) {
			t.Errorf("inspect: %v", e)
		}
	})
}

// FuzzManifest: what is read is written in the same bytes.
func FuzzManifest(f *testing.F) {
	m := sample()
	m.SHA256, m.Size = strings.Repeat("0a", 32), 1
	text, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"model":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data)
		if err != nil {
			return
		}
		if again, err := m.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q becomes %q, %v", data, again, err)
		}
	})
}
