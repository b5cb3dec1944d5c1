package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// TestLayout holds the repository against the rules. Each rule is shown to
// complain by TestRulesComplain.
func TestLayout(t *testing.T) {
	t.Parallel()
	pkgs := listPackages(t)
	for name, complaints := range map[string][]string{
		"direction": checkDirection(pkgs),
		"docs":      checkDocs(pkgs),
		"bans":      checkBans(pkgs),
		"identity":  checkIdentity(pkgs),
		"smallstep": checkSmallstep(pkgs),
		"lengths":   checkLengths(sources(t)),
		"top level": checkTopLevel(entries(t)),
		"module":    checkModule(parseModule(t, nil)),
	} {
		for _, c := range complaints {
			t.Errorf("%s: %s", name, c)
		}
	}
	// The rules see nothing where go list gives nothing.
	for _, want := range []string{"configs", "pki/identity"} {
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.path == want && len(p.deps) > 0 }) {
			t.Errorf("go list does not give %s with its dependencies", want)
		}
	}
}

func TestRulesComplain(t *testing.T) {
	t.Parallel()
	doc := "Package x is for tests."
	for _, tt := range []struct {
		name      string
		complains []string
		want      []string
	}{
		{"direction", checkDirection([]pkg{
			{path: "pki/enrol", imports: []string{"configs", "pki/identity", "net", "github.com/x/y"}},
			{path: "integration/world", imports: []string{"ara", "ccc/api", "backup", "pki", "auerproxy/relay"}},
			{path: "configs/daemon", imports: []string{"pki/identity"}},
			{path: "pki", imports: []string{"auerproxy/tunnel"}},
			{path: "auerproxy/relay", imports: []string{"integration/world"}},
			{path: "ccc/api", imports: []string{"ara/gateway", "auerproxy/dial"}},
			{path: "util", imports: nil},
		}), []string{
			"configs/daemon imports pki/identity, which is not below it",
			"pki imports auerproxy/tunnel, which is not below it",
			"auerproxy/relay imports integration/world, which is not below it",
			"ccc/api imports ara/gateway, which is not below it",
			"util is in none of the folders of the layout",
		}},
		{"docs", checkDocs([]pkg{
			{path: "a/x", name: "x", doc: doc},
			{path: "ccc", name: "main", doc: "Ccc is a program."},
			{path: "a/y", name: "y"},
			{path: "a/z", name: "z", doc: doc},
			{path: "ara", name: "main"},
		}), []string{
			"a/y has no package doc",
			`a/z: the package doc does not start with "Package z"`,
			"ara has no package doc",
		}},
		{"bans", checkBans([]pkg{
			{path: "auerproxy/cmd/auer-agent", deps: []string{"auerproxy/agent", "auerproxy/relay", "github.com/smallstep/nosql", "database/sql/driver", "github.com/prometheus/client_golang/prometheus", "configs/daemon"}},
			{path: "auerproxy/relay", deps: []string{"github.com/prometheus/client_golang/prometheus", "auerproxy/relayed"}},
		}), []string{
			"auerproxy/cmd/auer-agent links auerproxy/relay: a device never links the relay",
			"auerproxy/cmd/auer-agent links github.com/smallstep/nosql: a device asks for certificates and never issues any",
			"auerproxy/cmd/auer-agent links github.com/prometheus/client_golang/prometheus: the agent is small: its figures go over the tunnel",
			"auerproxy/cmd/auer-agent links configs/daemon: the agent is small: its figures go over the tunnel",
			"auerproxy/cmd/auer-agent links database/sql/driver: the agent is small: it keeps a few files",
		}},
		{"identity", checkIdentity([]pkg{
			{path: "pki/identity", deps: []string{"crypto/x509", "vendor/golang.org/x/crypto/cryptobyte", "configs", "golang.org/x/net/idna"}},
			{path: "pki/enrol", deps: []string{"golang.org/x/net/idna"}},
		}), []string{
			"pki/identity links configs: standard library only",
			"pki/identity links golang.org/x/net/idna: standard library only",
		}},
		{"smallstep", checkSmallstep([]pkg{
			{path: "pki", imports: []string{"github.com/smallstep/certificates/db"}},
			{path: "pki/authority", imports: []string{"go.step.sm/crypto/jose"}},
			{path: "pki/enrol", imports: []string{"go.step.sm/crypto/jose"}},
			{path: "pki/est", imports: []string{"github.com/smallstep/pkcs7"}},
			{path: "integration/world", imports: []string{"github.com/smallstep/certificates/authority"}},
		}), []string{
			"pki/enrol imports go.step.sm/crypto/jose: only the pki program embeds the CA",
			"integration/world imports github.com/smallstep/certificates/authority: only the pki program embeds the CA",
		}},
		{"lengths", checkLengths([]source{{"pki/main.go", 120}, {"pki/domain.go", 700}, {"ccc/main.go", 121}, {"ccc/store/store.go", 701}}), []string{
			"ccc/main.go has 121 lines, more than 120",
			"ccc/store/store.go has 701 lines, more than 700",
		}},
		{"top level", checkTopLevel([]string{".ci", "pki", "README.md", "pkg", "main.go"}), []string{
			"pkg is not on the list of top-level entries",
			"main.go is not on the list of top-level entries",
		}},
		{"module", checkModule(parseModule(t, []byte(`module x
require go.step.sm/crypto v0.78.0
require golang.org/x/net v0.62.0
replace golang.org/x/net => ../net
`))), []string{
			"go.mod replaces golang.org/x/net",
			"go.mod requires go.step.sm/crypto@v0.78.0, want v0.77.1: github.com/smallstep/certificates does not compile with a newer one",
		}},
	} {
		if !slices.Equal(tt.complains, tt.want) {
			t.Errorf("%s: got\n\t%s\nwant\n\t%s", tt.name, strings.Join(tt.complains, "\n\t"), strings.Join(tt.want, "\n\t"))
		}
	}
}

// root is the repository, seen from this package.
const root = ".."

// listPackages asks the go command for the module's packages.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list",
		"-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Name, Doc                    string
			Imports, TestImports, XTestImports, Deps []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, pkg{
			path: relative(p.ImportPath), name: p.Name, doc: p.Doc,
			imports: relatives(slices.Concat(p.Imports, p.TestImports, p.XTestImports)),
			deps:    relatives(p.Deps),
		})
	}
}

// relative cuts the module's path; a path of another module that starts like a
// folder of ours does not exist, as those have a dot in front.
func relative(path string) string { return strings.TrimPrefix(path, module+"/") }

func relatives(paths []string) []string {
	all := make([]string, len(paths))
	for i, p := range paths {
		all[i] = relative(p)
	}
	return all
}

// sources gives the Go files that people write. It reads them itself, so that the
// go command sees a change and does not take the result from its cache.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "bin"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !isGenerated(text) {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			all = append(all, source{filepath.ToSlash(rel), bytes.Count(text, []byte("\n"))})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d Go files", len(all))
	}
	return all
}

// isGenerated looks for the line of https://go.dev/s/generatedcode.
func isGenerated(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if bytes.HasPrefix(line, []byte("// Code generated ")) && bytes.HasSuffix(line, []byte(" DO NOT EDIT.")) {
			return true
		}
		if bytes.HasPrefix(line, []byte("package ")) {
			return false
		}
	}
	return false
}

// entries gives the top-level entries that git does not ignore.
func entries(t *testing.T) []string {
	t.Helper()
	dir, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range dir {
		switch {
		case slices.Contains([]string{"bin", "state", "dist", "node_modules"}, e.Name()),
			slices.Contains([]string{".test", ".prof", ".out"}, filepath.Ext(e.Name())):
		default:
			all = append(all, e.Name())
		}
	}
	return all
}

// parseModule parses a go.mod, that of the repository where text is nil.
func parseModule(t *testing.T, text []byte) *modfile.File {
	t.Helper()
	if text == nil {
		var err error
		if text, err = os.ReadFile(filepath.Join(root, "go.mod")); err != nil {
			t.Fatal(err)
		}
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}
