package integration

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

const module = "github.com/comtrexx-cloud/comtrexx"

// pkg is what the rules look at in a package. Paths inside the module are
// relative to it: "pki/identity".
type pkg struct {
	path    string
	name    string
	doc     string
	imports []string // direct, also those of tests
	deps    []string // all that a build of it links, tests left out
}

// source is one Go file that people write.
type source struct {
	path  string
	lines int
}

// layer gives the place of a path in the import order, and whether it is in the
// module.
func layer(path string) (n int, ours bool) {
	top, _, _ := strings.Cut(path, "/")
	n, ours = map[string]int{"configs": 0, "pki": 1, "auerproxy": 2, "ara": 3, "ccc": 3, "backup": 3, "integration": 4}[top]
	return n, ours
}

func top(path string) string {
	t, _, _ := strings.Cut(path, "/")
	return t
}

// checkDirection complains about imports that go up, or from one of ara, ccc and
// backup to another.
func checkDirection(pkgs []pkg) (complaints []string) {
	for _, p := range pkgs {
		from, ours := layer(p.path)
		if !ours {
			complaints = append(complaints, fmt.Sprintf("%s is in none of the folders of the layout", p.path))
			continue
		}
		for _, i := range p.imports {
			if to, ours := layer(i); ours && top(i) != top(p.path) && to >= from {
				complaints = append(complaints, fmt.Sprintf("%s imports %s, which is not below it", p.path, i))
			}
		}
	}
	return complaints
}

// checkDocs complains about packages without a package doc of the usual form.
func checkDocs(pkgs []pkg) (complaints []string) {
	for _, p := range pkgs {
		switch {
		case p.doc == "":
			complaints = append(complaints, p.path+" has no package doc")
		case p.name != "main" && !strings.HasPrefix(p.doc, "Package "+p.name+" "):
			complaints = append(complaints, fmt.Sprintf("%s: the package doc does not start with %q", p.path, "Package "+p.name))
		}
	}
	return complaints
}

// ban forbids the program at path to link what starts with one of prefixes.
type ban struct {
	path     string
	prefixes []string
	reason   string
}

// bans keep programs and libraries small, and trust bases apart.
var bans = []ban{
	{"auerproxy/cmd/auer-agent", []string{"auerproxy/relay", "auerproxy/registry"}, "a device never links the relay"},
	{"auerproxy/cmd/auer-agent", []string{"auerproxy/tunnel/presence"}, "a device is never told who else is connected"},
	{"auerproxy/cmd/auer-agent", []string{"pki/authority", "github.com/smallstep", "go.step.sm"}, "a device asks for certificates and never issues any"},
	{"auerproxy/cmd/auer-agent", []string{"github.com/prometheus", "configs/daemon"}, "the agent is small: its figures go over the tunnel"},
	{"auerproxy/cmd/auer-agent", []string{"database/sql", "go.etcd.io/bbolt"}, "the agent is small: it keeps a few files"},
	{"auerproxy/agent", []string{"auerproxy/relay", "auerproxy/registry", "pki/authority", "configs/daemon", "github.com/prometheus"}, "the SDK of devices links what a device needs"},
	{"auerproxy/dial", []string{"auerproxy/relay", "auerproxy/registry", "pki/authority", "configs/daemon"}, "the SDK of callers links what a caller needs"},
	{"auerproxy/relay", []string{"pki/authority", "github.com/smallstep", "go.step.sm"}, "a relay must not be able to issue certificates"},
	{"pki/servercert", []string{"pki/authority", "pki/acmesrv", "github.com/smallstep", "go.step.sm"}, "a server asks for certificates and never issues any"},
	{"auerproxy/relay", []string{"pki/servercert", "github.com/caddyserver"}, "the program gives the relay its names"},
	{"configs/cli", []string{"github.com/prometheus", "configs/daemon"}, "auer-agent links it"},
	{"ccc/client", []string{"ccc", "pki", "auerproxy", "configs", "github.com", "golang.org", "go.uber.org", "database/sql"}, "third parties link it: the standard library only"},
	{"ccc/pairing/wire", []string{"database/sql", "github.com/prometheus", "ccc/store", "ccc/seal"}, "PBXs link it"},
	{"integration/pbx/pbx", []string{"auerproxy/relay", "auerproxy/registry", "pki/authority", "github.com/smallstep", "go.step.sm", "database/sql", "github.com/prometheus"}, "a PBX links what a device needs"},
}

// under tells whether path is prefix or below it.
func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// checkBans complains about linked packages that are forbidden, with the reason.
func checkBans(pkgs []pkg) (complaints []string) {
	for _, b := range bans {
		i := slices.IndexFunc(pkgs, func(p pkg) bool { return p.path == b.path })
		if i < 0 {
			continue
		}
		for _, dep := range pkgs[i].deps {
			if slices.ContainsFunc(b.prefixes, func(prefix string) bool { return under(dep, prefix) }) {
				complaints = append(complaints, fmt.Sprintf("%s links %s: %s", b.path, dep, b.reason))
			}
		}
	}
	return complaints
}

// checkIdentity complains about anything but the standard library in
// pki/identity: names are read in every program, and must not drag anything in.
func checkIdentity(pkgs []pkg) (complaints []string) {
	for _, p := range pkgs {
		if p.path != "pki/identity" {
			continue
		}
		for _, dep := range p.deps {
			if _, ours := layer(dep); ours || strings.Contains(top(dep), ".") {
				complaints = append(complaints, fmt.Sprintf("%s links %s: standard library only", p.path, dep))
			}
		}
	}
	return complaints
}

// encoder is smallstep's PKCS #7, which brings nothing of the CA.
const encoder = "github.com/smallstep/pkcs7"

// checkSmallstep complains about imports of the embedded CA outside of the pki
// program.
func checkSmallstep(pkgs []pkg) (complaints []string) {
	for _, p := range pkgs {
		if p.path == "pki" || under(p.path, "pki/authority") || under(p.path, "pki/acmesrv") {
			continue
		}
		for _, i := range p.imports {
			if i != encoder && under(i, "github.com/smallstep") || under(i, "go.step.sm") {
				complaints = append(complaints, fmt.Sprintf("%s imports %s: only the pki program embeds the CA", p.path, i))
			}
		}
	}
	return complaints
}

// Limits of files, in lines.
const (
	maxMain   = 120 // flags, config, New, Run
	maxSource = 700
)

// checkLengths complains about files that have become too long to find the way
// in.
func checkLengths(files []source) (complaints []string) {
	for _, f := range files {
		limit := maxSource
		if f.path == "main.go" || strings.HasSuffix(f.path, "/main.go") {
			limit = maxMain
		}
		if f.lines > limit {
			complaints = append(complaints, fmt.Sprintf("%s has %d lines, more than %d", f.path, f.lines, limit))
		}
	}
	return complaints
}

// topLevel is the fixed list; dot-files are free, and what git ignores is not
// looked at.
var topLevel = []string{
	"auerproxy", "ara", "ccc", "pki", "backup", "integration", "configs",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "CHANGELOG.md",
}

// checkTopLevel complains about entries that are not on the list.
func checkTopLevel(entries []string) (complaints []string) {
	for _, e := range entries {
		if !strings.HasPrefix(e, ".") && !slices.Contains(topLevel, e) {
			complaints = append(complaints, e+" is not on the list of top-level entries")
		}
	}
	return complaints
}

// pins are versions that must not move, with the reason.
var pins = map[string]struct{ version, reason string }{
	"go.step.sm/crypto": {"v0.77.1", "github.com/smallstep/certificates does not compile with a newer one"},
}

// checkModule complains about replaced modules, which other modules that import
// the SDKs would not see, and about moved pins.
func checkModule(mod *modfile.File) (complaints []string) {
	for _, r := range mod.Replace {
		complaints = append(complaints, "go.mod replaces "+r.Old.Path)
	}
	for _, r := range mod.Require {
		if pin, ok := pins[r.Mod.Path]; ok && r.Mod.Version != pin.version {
			complaints = append(complaints, fmt.Sprintf("go.mod requires %s, want %s: %s", r.Mod, pin.version, pin.reason))
		}
	}
	return complaints
}
