package authority

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string, cfg *Config) // nil: nothing is wrong
		at     time.Duration
		severe bool
		want   string // part of the finding
	}{
		"good":             {},
		"no directory":     {func(_ *testing.T, dir string, cfg *Config) { cfg.StateDir = filepath.Join(dir, "none") }, 0, false, "no PKI in"},
		"empty":            {func(t *testing.T, _ string, cfg *Config) { cfg.StateDir = t.TempDir() }, 0, false, "no PKI in"},
		"file":             {func(_ *testing.T, dir string, cfg *Config) { cfg.StateDir = filepath.Join(dir, "roots.pem") }, 0, true, "is no directory"},
		"open directory":   {func(t *testing.T, dir string, _ *Config) { chmod(t, dir, 0o755) }, 0, false, "other users can enter"},
		"open key":         {func(t *testing.T, dir string, _ *Config) { chmod(t, filepath.Join(dir, "relay.key"), 0o640) }, 0, true, "other users can read"},
		"no intermediate":  {func(t *testing.T, dir string, _ *Config) { remove(t, filepath.Join(dir, "relay.pem")) }, 0, true, "relay authority"},
		"no key":           {func(t *testing.T, dir string, _ *Config) { remove(t, filepath.Join(dir, "relay.key")) }, 0, true, "relay.key"},
		"encrypted":        {func(_ *testing.T, dir string, cfg *Config) { cfg.PlainKeys = false; cfg.PassphraseFile = "none" }, 0, true, "passphrase"},
		"other domain":     {func(_ *testing.T, _ string, cfg *Config) { cfg.TrustDomain = "other.example" }, 0, true, "trust_domain changed?"},
		"names":            {func(_ *testing.T, _ string, cfg *Config) { cfg.ExtraDNS = []string{"localhost", "example.com"} }, 0, true, "extra_dns has example.com"},
		"short of life":    {nil, 5*year - 20*24*time.Hour, false, "shorter than lifetimes.device"},
		"expired":          {nil, 5*year + time.Hour, true, "intermediate expired"},
		"root key present": {nil, 0, false, "the root's key is in"},
		"plain keys":       {nil, 0, false, "the keys are not encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := stateDir(t)
			chmod(t, dir, 0o700)
			cfg := Config{StateDir: dir, PlainKeys: true}
			if c.change != nil {
				c.change(t, dir, &cfg)
			}
			found := Check(cfg, now.Add(c.at))
			if c.want == "" {
				if slices.ContainsFunc(found, func(f Finding) bool { return f.Severe }) || len(found) != 2 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if !slices.ContainsFunc(found, func(f Finding) bool {
				return f.Severe == c.severe && strings.Contains(f.Problem, c.want) && f.Hint != ""
			}) {
				t.Errorf("found %+v, want %q", found, c.want)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
