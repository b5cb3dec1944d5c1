package configs

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/*.txtar")

// sample has every shape that a program's configuration can have.
type sample struct {
	Log     sampleLog         `yaml:"log"`
	Relay   sampleRelay       `yaml:"relay"`
	Policy  []sampleRule      `yaml:"policy"`
	Ports   map[uint16]string `yaml:"ports"`
	Tenants map[string]rate   `yaml:"tenants"`
	Shared  `yaml:",inline"`
	Logger  any `yaml:"-"`
	hidden  int // not a key
}

type Shared struct {
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
}

type sampleLog struct {
	Level string `yaml:"level"`
}

type sampleRelay struct {
	ID         string         `yaml:"id"`
	Listen     []string       `yaml:"listen"`
	MaxStreams int32          `yaml:"max-streams"`
	Budget     Bytes          `yaml:"budget"`
	Key        SecretFile     `yaml:"key_file"`
	Public     netip.AddrPort `yaml:"public"`
	Fair       bool           `yaml:"fair"`
	Weight     float64        `yaml:"weight"`
	Slots      uint8          `yaml:"slots"`
	Limits     *rate          `yaml:"limits"`
	Idle       *time.Duration `yaml:"idle"`
}

type rate struct {
	PerSecond int `yaml:"per_second"`
}

type sampleRule struct {
	Caller   string   `yaml:"caller"`
	Services []string `yaml:"services"`
}

var errNoID = errors.New("is required")

func (s *sample) Validate() error {
	var all []error
	if s.Relay.ID == "" {
		all = append(all, Under("relay", &KeyError{Key: "id", Problem: errNoID.Error(), Hint: "name the relay", Cause: errNoID}))
	}
	if s.Relay.Slots > 16 {
		all = append(all, &KeyError{Key: "relay.slots", Problem: "is above 16"})
	}
	for i, r := range s.Policy {
		if r.Caller == "nobody" {
			all = append(all, Under("policy", &KeyError{Key: "[" + string(rune('0'+i)) + "].caller", Problem: "is not a service"}))
		}
	}
	if s.ShutdownTimeout > time.Hour {
		all = append(all, errors.New("nobody waits that long"))
	}
	return errors.Join(all...)
}

func sampleDefault() sample {
	return sample{
		Log:    sampleLog{Level: "info"},
		Relay:  sampleRelay{ID: "r1", Listen: []string{":443"}, MaxStreams: 100},
		Ports:  map[uint16]string{443: "web"},
		hidden: 1,
		Shared: Shared{ShutdownTimeout: 30 * time.Second},
	}
}

// TestLoad runs testdata/*.txtar. Each archive has config.yaml, and optionally
// env and set (one entry a line); want is what Load gives: the errors, else the
// merged configuration.
func TestLoad(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := loadArchive(t, archive)
			for i, f := range archive.Files {
				if f.Name != "want" {
					continue
				}
				if *update {
					archive.Files[i].Data = []byte(got)
					if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if got != string(f.Data) {
					t.Errorf("got:\n%s\nwant:\n%s", got, f.Data)
				}
				return
			}
			t.Fatal("the archive has no file want")
		})
	}
}

func loadArchive(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	src := Source{EnvPrefix: "APP", Env: []string{}}
	for _, f := range archive.Files {
		lines := strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		switch f.Name {
		case "env":
			src.Env = lines
		case "set":
			src.Set = lines
		case "want":
		default:
			src.Path = filepath.Join(dir, f.Name)
			if err := os.WriteFile(src.Path, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := sampleDefault()
	if err := Load(&cfg, src); err != nil {
		return strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "") + "\n"
	}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, text)
	return string(text)
}

// checkRoundTrip shows that what "config print" writes can be loaded again.
func checkRoundTrip(t *testing.T, text []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "print.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var again sample
	if err := Load(&again, Source{Path: path}); err != nil {
		t.Fatalf("printed configuration does not load: %v\n%s", err, text)
	}
	printed, err := yaml.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, printed) {
		t.Errorf("after a round trip:\n%s\nwant:\n%s", printed, text)
	}
}

func TestLoadErrorsAreTyped(t *testing.T) {
	t.Parallel()
	cfg := sampleDefault()
	err := Load(&cfg, Source{Set: []string{"relay.id=", "log.levle=debug"}})
	all, ok := errors.AsType[Errors](err)
	if !ok || len(all) != 2 {
		t.Fatalf("got %v, want two Errors", err)
	}
	if !errors.Is(err, errNoID) {
		t.Errorf("%v does not wrap the cause that Validate gave", err)
	}
	if e := all[1]; e.Key != "relay.id" || e.Origin != "--set relay.id" || e.Hint != "name the relay" {
		t.Errorf("got %+v", e)
	}
}

// A text takes the place of the file, whose name is still in errors.
func TestLoadText(t *testing.T) {
	t.Parallel()
	cfg := sampleDefault()
	src := Source{Path: "embedded.yaml", Text: []byte("relay:\n  id: r7\n")}
	if err := Load(&cfg, src); err != nil || cfg.Relay.ID != "r7" {
		t.Errorf("got %+v, %v", cfg, err)
	}
	src.Text = []byte("relay:\n  ide: r7\n")
	if err := Load(&cfg, src); err == nil || !strings.HasPrefix(err.Error(), "embedded.yaml:2:3: relay.ide: unknown key") {
		t.Errorf("got %v", err)
	}
	// An empty text is an empty file, and none of the name is read.
	src.Text = []byte{}
	if err := Load(&cfg, src); err != nil {
		t.Error(err)
	}
}

func TestLoadMissingFile(t *testing.T) {
	t.Parallel()
	cfg := sampleDefault()
	err := Load(&cfg, Source{Path: filepath.Join(t.TempDir(), "none.yaml")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}

func TestLoadWantsPointer(t *testing.T) {
	t.Parallel()
	for _, dst := range []any{nil, sample{}, (*sample)(nil), new(int)} {
		if err := Load(dst, Source{}); err == nil {
			t.Errorf("Load(%T) gave no error", dst)
		}
	}
}

func TestLoadPanicsOnFieldWithoutTag(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = Load(&struct{ Listen string }{}, Source{Set: []string{"listen=x"}})
}

func TestUnderKeepsNil(t *testing.T) {
	t.Parallel()
	if err := Under("relay", nil); err != nil {
		t.Errorf("got %v", err)
	}
	if err := Under("relay", errors.Join(nil, nil)); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestExamples shows that the shipped files are at least what the loader can
// read; whether the keys exist is tested by the program that owns the file.
func TestExamples(t *testing.T) {
	t.Parallel()
	all := Examples()
	if len(all) == 0 {
		t.Fatal("no examples")
	}
	for _, name := range all {
		text, err := Example(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("#")) {
			t.Errorf("%s does not start with a comment that says what it is", name)
		}
	}
	if _, err := Example("none.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}
