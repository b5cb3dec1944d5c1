// Package programs builds the real programs for tests. All packages with such tests share
// one directory below bin, so that a program is linked once and not once for each of them:
//
//	bin, err := programs.Build("pki", "auerproxy")
//
// The flags are those of "make build", whose compiled packages serve here, too. The control
// centre has its pages where "make ui" has built them.
package programs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// sources are the packages of the programs, below the directory of the module.
var sources = map[string]string{
	"ara": "ara", "auer-agent": "auerproxy/cmd/auer-agent", "auerproxy": "auerproxy", "ccc": "ccc", "pbx": "integration/pbx/pbx", "pki": "pki",
}

// Build builds the programs that are not up to date, and gives the directory that they are
// in, which may have others, too. The test has to be in this module.
func Build(names ...string) (dir string, err error) {
	root, err := module()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(root, "bin", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Others wait, and then find them up to date.
	unlock, err := lockedfile.MutexAt(dir + ".lock").Lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	return dir, build(root, dir, nil, names)
}

// Changed builds a program into the directory from sources of which some are replaced, by a
// file as "go help build" describes for -overlay.
func Changed(dir, overlay, name string) error {
	root, err := module()
	if err != nil {
		return err
	}
	return build(root, dir, []string{"-overlay", overlay}, []string{name})
}

func build(root, dir string, flags, names []string) error {
	tags := "nobadger,nomysql,nopgx"
	if _, err := os.Stat(filepath.Join(root, "ccc", "web", "ui", "dist", "index.html")); err == nil {
		tags += ",webui"
	}
	// Without the commit, so that a new one does not make all programs anew.
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-tags", tags, "-o", dir + string(filepath.Separator)}, flags...)
	for _, name := range names {
		source := sources[name]
		if source == "" {
			return fmt.Errorf("there is no program %q", name)
		}
		args = append(args, "./"+source)
	}
	cmd := exec.Command("go", args...) //nolint:noctx // it ends by itself
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// module is the directory of go.mod at or above the test's, which is that of its package.
func module() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}
