package configs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// FuzzLoad looks for texts on which the loader panics or hangs, and for errors
// that do not say where they are.
func FuzzLoad(f *testing.F) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		f.Fatalf("no archives: %v", err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		var text, env, set string
		for _, file := range archive.Files {
			switch file.Name {
			case "config.yaml":
				text = string(file.Data)
			case "env":
				env = string(file.Data)
			case "set":
				set = string(file.Data)
			}
		}
		f.Add([]byte(text), env, set)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, env, set string) {
		file, err := os.CreateTemp(dir, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(file.Name())
		if _, err := file.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		cfg := sampleDefault()
		err = Load(&cfg, Source{Path: file.Name(), EnvPrefix: "APP", Env: []string{"APP_" + env}, Set: []string{set}})
		if err == nil {
			return
		}
		all, ok := errors.AsType[Errors](err)
		if !ok {
			t.Fatalf("got %T: %v", err, err)
		}
		for _, e := range all {
			if e.Problem == "" || e.Origin == "" && e.Key == "" && e.Problem != "nobody waits that long" {
				t.Errorf("an error that says too little: %+v", e)
			}
		}
	})
}
