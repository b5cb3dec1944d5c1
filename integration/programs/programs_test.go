package programs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/programs"
)

// TestBuild: a program is built once, and one that is not ours not at all.
func TestBuild(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a program")
	}
	var first os.FileInfo
	for range 2 {
		dir, err := programs.Build("auer-agent")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "auer-agent")
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() // as long as it is open, no other file gets its number
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = info
		} else if !os.SameFile(first, info) {
			t.Error("built again")
		}
		if out, err := exec.CommandContext(t.Context(), path, "version").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if _, err := programs.Build("auer-agent", "firewall"); err == nil || !strings.Contains(err.Error(), `no program "firewall"`) {
		t.Errorf("got %v", err)
	}
}
