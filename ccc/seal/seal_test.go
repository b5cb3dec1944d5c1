package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

func ring(t testing.TB, texts ...string) *seal.Keyring {
	t.Helper()
	k, err := seal.New(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSeal(t testing.TB, k *seal.Keyring, purpose, id, plain string) []byte {
	t.Helper()
	sealed, err := k.Seal(purpose, id, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	k := ring(t, seal.NewKey())
	for _, plain := range []string{"", "a password", strings.Repeat("long ", 10000)} {
		sealed := mustSeal(t, k, "password", "1", plain)
		if len(sealed) != len(plain)+seal.Overhead {
			t.Errorf("%d bytes sealed are %d, want %d more", len(plain), len(sealed), seal.Overhead)
		}
		if plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Error("the sealed record shows what is in it")
		}
		if got, err := k.Open("password", "1", sealed); err != nil || string(got) != plain {
			t.Errorf("opened %q, %v", got, err)
		}
	}
	if bytes.Equal(mustSeal(t, k, "p", "1", "x"), mustSeal(t, k, "p", "1", "x")) {
		t.Error("the same record sealed twice is the same")
	}
}

// A record opens at its place only: purpose and id are told apart by their
// lengths, not only by what they are together.
func TestBoundToItsRecord(t *testing.T) {
	t.Parallel()
	k := ring(t, seal.NewKey())
	sealed := mustSeal(t, k, "user", "12", "x")
	for _, at := range [][2]string{{"password", "12"}, {"user", "13"}, {"user1", "2"}, {"use", "r12"}, {"", "user12"}, {"12", "user"}} {
		if got, err := k.Open(at[0], at[1], sealed); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("opened as %q: %q, %v", at, got, err)
		}
	}
	if _, err := k.Open("user", "12", sealed); err != nil {
		t.Error(err)
	}
}

// Every bit counts.
func TestChanged(t *testing.T) {
	t.Parallel()
	k := ring(t, seal.NewKey())
	sealed := mustSeal(t, k, "p", "1", "secret")
	for bit := range len(sealed) * 8 {
		changed := bytes.Clone(sealed)
		changed[bit/8] ^= 1 << (bit % 8)
		if got, err := k.Open("p", "1", changed); !errors.Is(err, seal.ErrSealed) && !errors.Is(err, seal.ErrKey) {
			t.Fatalf("bit %d changed: %q, %v", bit, got, err)
		}
		if _, _, err := k.Reseal("p", "1", changed); err == nil && bit/8 < 69 {
			t.Fatalf("bit %d changed: resealed", bit)
		}
	}
	for n := range len(sealed) {
		if _, err := k.Open("p", "1", sealed[:n]); !errors.Is(err, seal.ErrSealed) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	// The record's part of one in the other's envelope.
	other := mustSeal(t, k, "p", "1", "secret")
	if _, err := k.Open("p", "1", append(bytes.Clone(sealed[:69]), other[69:]...)); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("mixed from two: %v", err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	a, b := seal.NewKey(), seal.NewKey()
	old, both, fresh := ring(t, a), ring(t, b, a), ring(t, b)
	sealed := mustSeal(t, old, "p", "1", "secret")
	if got, err := both.Open("p", "1", sealed); err != nil || string(got) != "secret" {
		t.Fatalf("with the old key second: %q, %v", got, err)
	}
	_, err := fresh.Open("p", "1", sealed)
	if !errors.Is(err, seal.ErrKey) || !strings.Contains(err.Error(), old.IDs()[0]) {
		t.Errorf("without the old key: %v, want the id of the missing key", err)
	}
	resealed, changed, err := both.Reseal("p", "1", sealed)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got, err := fresh.Open("p", "1", resealed); err != nil || string(got) != "secret" {
		t.Errorf("resealed: %q, %v", got, err)
	}
	if _, err := old.Open("p", "1", resealed); !errors.Is(err, seal.ErrKey) {
		t.Errorf("the old key still opens it: %v", err)
	}
	again, changed, err := both.Reseal("p", "1", resealed)
	if err != nil || changed || !bytes.Equal(again, resealed) {
		t.Errorf("resealed twice: %v, %v", changed, err)
	}
	if _, _, err := both.Reseal("p", "2", sealed); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("another record resealed: %v", err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{0xfb, 0xef, 1, 2}, 8)
	for _, tt := range []struct{ name, text, want string }{
		{"base64", base64.StdEncoding.EncodeToString(raw), ""},
		{"newline", base64.StdEncoding.EncodeToString(raw) + "\r\n", ""},
		{"no padding", base64.RawStdEncoding.EncodeToString(raw), ""},
		{"URL alphabet", base64.URLEncoding.EncodeToString(raw), ""},
		{"hex", hex.EncodeToString(raw), ""},
		{"capital hex", strings.ToUpper(hex.EncodeToString(raw)), ""},
		{"empty", "", "these are 0 bytes"},
		{"short", base64.StdEncoding.EncodeToString(raw[:31]), "these are 31 bytes"},
		{"long", base64.StdEncoding.EncodeToString(append(raw, 1)), "these are 33 bytes"},
		{"no key", "correct horse battery staple", "32 random bytes in base64 or hex"},
		{"zero", strings.Repeat("0", 64), "all the same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			k, err := seal.Load([]configs.SecretFile{configs.SecretFile(file)})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) {
					t.Fatalf("got %v, want %q and the file's name", err, tt.want)
				}
				if tt.text != "" && strings.Contains(err.Error(), tt.text) {
					t.Fatalf("the error shows what is in the file: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := k.IDs()[0], ring(t, hex.EncodeToString(raw)).IDs()[0]; got != want {
				t.Errorf("key id %s, want %s", got, want)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(seal.NewKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := configs.SecretFile(file)
	if _, err := seal.Load(nil); err == nil {
		t.Error("no file")
	}
	if _, err := seal.Load([]configs.SecretFile{secret, secret}); err == nil || !strings.Contains(err.Error(), file+" is given twice") {
		t.Errorf("the same key twice: %v", err)
	}
	if _, err := seal.Load([]configs.SecretFile{secret + ".none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Load([]configs.SecretFile{secret}); !errors.Is(err, configs.ErrExposed) {
		t.Errorf("readable by everybody: %v", err)
	}
	if _, err := seal.New(); err == nil {
		t.Error("a keyring without a key")
	}
}

// No key is in what a log would show.
func TestPrinted(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("41", 31) + "42" // "AAA…B"
	k := ring(t, text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, k); got != "keys ["+k.IDs()[0]+"]" {
			t.Errorf("%s gives %s", verb, got)
		}
	}
}

// golden gives a keyring and a record of version 1 that it opens. It is the same in each
// of the processes that a fuzz test has.
func golden(t testing.TB) (k *seal.Keyring, sealed []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "v1"))
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err = hex.DecodeString(strings.TrimSpace(string(text))); err != nil {
		t.Fatal(err)
	}
	return ring(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"), sealed
}

const goldenPurpose, goldenID = "pairing password", "p-1"

// A record of version 1 opens for ever.
func TestGolden(t *testing.T) {
	t.Parallel()
	k, sealed := golden(t)
	if got, err := k.Open(goldenPurpose, goldenID, sealed); err != nil || string(got) != "hunter2" {
		t.Errorf("opened %q, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	k, good := golden(f)
	f.Add(goldenPurpose, goldenID, good)
	f.Add(goldenPurpose, "2", good)
	f.Add("", "", []byte{1})
	f.Fuzz(func(t *testing.T, purpose, id string, sealed []byte) {
		plain, err := k.Open(purpose, id, sealed)
		mine := purpose == goldenPurpose && id == goldenID && bytes.Equal(sealed, good)
		if mine != (err == nil) {
			t.Errorf("%q %q %x: %q, %v", purpose, id, sealed, plain, err)
		}
		if err != nil && !errors.Is(err, seal.ErrSealed) && !errors.Is(err, seal.ErrKey) {
			t.Errorf("an error of neither kind: %v", err)
		}
	})
}
