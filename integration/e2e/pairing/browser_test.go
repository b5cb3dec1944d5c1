package pairing_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// chromium is Debian's, or what CHROMIUM names.
func chromium() string {
	for _, path := range []string{os.Getenv("CHROMIUM"), "/usr/bin/chromium", "/usr/bin/chromium-browser"} {
		if _, err := os.Stat(path); path != "" && err == nil {
			return path
		}
	}
	return ""
}

// TestBrowser pairs and dissolves in a real browser, in each language: the pages of the
// control centre in one window and those of the PBX in another. With
// AUER_TEST_SCREENSHOTS it leaves pictures in that directory.
func TestBrowser(t *testing.T) {
	t.Parallel()
	ui, err := filepath.Abs("../../../ccc/web/ui")
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node is not installed")
	}
	for _, needed := range []string{"dist/index.html", "node_modules/playwright-core"} {
		if _, err := os.Stat(filepath.Join(ui, needed)); err != nil {
			t.Skipf("%s is missing: make ui builds the pages", needed)
		}
	}
	browser := chromium()
	if browser == "" {
		t.Skip("Chromium is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	w := start(ctx, t, world.Config{Kind: world.Processes, DeviceCount: 3})
	if err := w.AwaitNames(ctx); err != nil {
		t.Fatal(err)
	}
	c := w.Centre()
	password, err := c.AdminPassword()
	if err != nil {
		t.Fatal(err)
	}
	lang, err := filepath.Abs("../../pbx/pages/lang")
	if err != nil {
		t.Fatal(err)
	}
	type site struct {
		Serial   string `json:"serial"`
		URL      string `json:"url"`
		Password string `json:"password"`
	}
	about := map[string]any{
		"ui": ui, "lang": lang, "chromium": browser, "shots": os.Getenv("AUER_TEST_SCREENSHOTS"),
		"ccc": c.HTTP, "email": c.Email, "password": password, "tenant": "Musterfirma GmbH",
	}
	var sites []site
	for i := range w.Devices() {
		first, err := firstPassword(w, i)
		if err != nil {
			t.Fatal(err)
		}
		sites = append(sites, site{string(w.Device(i)), w.PBX(i).URL, first})
	}
	about["pbxs"] = sites
	text, err := json.Marshal(about)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, node, "testdata/browser.mjs")
	cmd.Env = append(os.Environ(), "WORLD="+string(text), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"step":"end"`) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
