// Package browser runs scripts of tests with a real Chromium, which they drive by
// playwright-core from Node:
//
//	b := browser.Find(t)
//	b.Run(ctx, t, "testdata/browser.mjs", map[string]any{"ccc": url})
//
// A test is skipped where Chromium, Node or the built pages are missing. Chromium is
// Debian's, or what CHROMIUM names. With AUER_TEST_SCREENSHOTS scripts leave pictures in that
// directory; AUER_TEST_PAGES names another directory with built pages.
package browser

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Browser is what scripts need.
type Browser struct {
	// UI is the directory of the pages' sources and modules, Dist that of the built pages.
	UI, Dist string

	node, chromium string
}

// Find looks for all of it. The test has to be in a folder of integration/e2e.
func Find(t testing.TB) Browser {
	t.Helper()
	ui, err := filepath.Abs("../../../ccc/web/ui")
	if err != nil {
		t.Fatal(err)
	}
	b := Browser{UI: ui, Dist: cmp.Or(os.Getenv("AUER_TEST_PAGES"), filepath.Join(ui, "dist"))}
	if b.node, err = exec.LookPath("node"); err != nil {
		t.Skip("Node is not installed")
	}
	for _, needed := range []string{filepath.Join(b.Dist, "index.html"), filepath.Join(ui, "node_modules/playwright-core")} {
		if _, err := os.Stat(needed); err != nil {
			t.Skipf("%s is missing: make ui builds the pages", needed)
		}
	}
	for _, path := range []string{os.Getenv("CHROMIUM"), "/usr/bin/chromium", "/usr/bin/chromium-browser"} {
		if _, err := os.Stat(path); path != "" && err == nil {
			b.chromium = path
			return b
		}
	}
	t.Skip("Chromium is not installed")
	return b
}

// Run runs a script, which finds in the variable WORLD what it is told as JSON, and in it
// "ui", "chromium" and "shots" besides. It fails the test unless the script tells of the step
// "end".
func (b Browser) Run(ctx context.Context, t testing.TB, script string, told map[string]any) {
	t.Helper()
	about := map[string]any{"ui": b.UI, "chromium": b.chromium, "shots": os.Getenv("AUER_TEST_SCREENSHOTS")}
	maps.Copy(about, told)
	text, err := json.Marshal(about)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, b.node, script)
	cmd.Env = append(os.Environ(), "WORLD="+string(text), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"step":"end"`) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
