package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want Bytes
		out  string
	}{
		{"0", 0, "0B"},
		{"1500", 1500, "1500B"},
		{"1500B", 1500, "1500B"},
		{"64KiB", 64 << 10, "64KiB"},
		{"64 kib", 64 << 10, "64KiB"},
		{"1MB", 1e6, "1MB"},
		{"2gb", 2e9, "2GB"},
		{"1024MiB", 1 << 30, "1GiB"},
		{"8388607TiB", 8388607 << 40, "8388607TiB"},
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(tt.text)); err != nil || b != tt.want {
			t.Errorf("%q: got %d, %v, want %d", tt.text, b, err, tt.want)
		}
		if b.String() != tt.out {
			t.Errorf("%q prints as %s, want %s", tt.text, b, tt.out)
		}
	}
	for _, text := range []string{"", "B", "KiB", "-1", "1.5MB", "1XB", "1KiBB", "8388608TiB", "9223372036854775808", "0x10"} {
		b := Bytes(7)
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %d, want an error", text, b)
		}
	}
}

func TestSecretFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text, want string
		mode             os.FileMode
		err              error
	}{
		{"newline", "s3cret\n", "s3cret", 0o600, nil},
		{"carriage return", "s3cret\r\n", "s3cret", 0o600, nil},
		{"one newline only", "s3cret\n\n", "s3cret\n", 0o640, nil},
		{"no newline", " s3cret\r", " s3cret\r", 0o400, nil},
		{"world-readable", "s3cret", "", 0o604, ErrExposed},
		{"the usual mode", "s3cret", "", 0o644, ErrExposed},
		{"too large", strings.Repeat("s", maxSecret+1), "", 0o600, errTooLarge},
		{"just fits", strings.Repeat("s", maxSecret), strings.Repeat("s", maxSecret), 0o600, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			got, err := SecretFile(path).Read()
			switch {
			case !errors.Is(err, tt.err):
				t.Fatalf("got error %v, want %v", err, tt.err)
			case err != nil && strings.Contains(err.Error(), "s3cret"):
				t.Errorf("the error shows the contents: %v", err)
			}
			if string(got) != tt.want {
				t.Errorf("got %d bytes, want %d", len(got), len(tt.want))
			}
		})
	}
	if _, err := SecretFile(filepath.Join(t.TempDir(), "none")).Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	keys := []string{"listen", "level", "max-streams", "id", "idle"}
	for word, want := range map[string]string{
		"lsiten":      "listen", // a swap counts once
		"listen":      "listen",
		"Listen":      "listen",
		"max_streams": "max-streams",
		"maxstreams":  "max-streams",
		"di":          "id",
		"x":           "",
		"nothing":     "",
		"":            "",
	} {
		if got := nearest(word, keys); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestVersionIsNeverEmpty(t *testing.T) {
	t.Parallel()
	if Version() == "" {
		t.Error("no version")
	}
}
