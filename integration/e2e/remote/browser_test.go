package remote_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/conformance"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestBrowser: a real browser, which trusts the world's roots, goes the whole way, runs the
// page on which everything is that pages do to a proxy, and is out at the end. With
// AUER_TEST_SCREENSHOTS it leaves pictures in that directory.
func TestBrowser(t *testing.T) {
	t.Parallel()
	script := newScript(t, "browser.mjs")
	ctx, s := start(t, pbxBrowser)
	id := s.ask(ctx, time.Hour)
	s.decide(ctx, id, "allow")
	script.run(ctx, s.w, desk(t, s.grants(id), s.ends(ctx, id)), id, map[string]any{"conformance": conformance.Path, "megabytes": megabytes(t)})
}

// megabytes is the size of the upload: 5, or what AUER_TEST_MEGABYTES says.
func megabytes(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("AUER_TEST_MEGABYTES"), "5"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// script is one for a real browser that goes through the gateway; see testdata/visit.mjs.
type script struct {
	t                       *testing.T
	name                    string
	node, browser, certutil string
	ui                      string
}

// newScript looks for what a browser takes, and skips the test where that is missing.
func newScript(t *testing.T, name string) *script {
	t.Helper()
	s := &script{t: t, name: name, node: tool(t, "node"), browser: tool(t, "chromium"), certutil: tool(t, "certutil")}
	var err error
	if s.ui, err = filepath.Abs("../../../ccc/web/ui"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.ui, "node_modules/playwright-core")); err != nil {
		t.Skip("playwright-core is missing: make ui installs it")
	}
	return s
}

// run runs it for a session, whose grants it gets at the desk, and fails unless it comes to
// its end.
func (s *script) run(ctx context.Context, w *world.World, desk string, id grant.SessionID, more map[string]any) {
	s.t.Helper()
	home := s.t.TempDir()
	nss := "sql:" + filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(filepath.Join(home, ".pki", "nssdb"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	for _, args := range [][]string{{"-N", "-d", nss, "--empty-password"}, {"-A", "-d", nss, "-n", "root", "-t", "C,,", "-i", w.Roots()}} {
		if out, err := exec.CommandContext(ctx, s.certutil, args...).CombinedOutput(); err != nil {
			s.t.Fatalf("certutil %q: %v\n%s", args, err, out)
		}
	}
	about := map[string]any{
		"ui": s.ui, "chromium": s.browser, "shots": os.Getenv("AUER_TEST_SCREENSHOTS"), "desk": desk, "session": id,
		"ara": w.Gateway().URL, "ccc": w.Centre().URL, "domain": world.GatewayName,
	}
	maps.Copy(about, more)
	text, err := json.Marshal(about)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, s.node, "testdata/"+s.name) //nolint:gosec // one of ours
	cmd.Env = append(os.Environ(), "WORLD="+string(text), "HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"step":"end"`)) {
		s.t.Fatalf("%v\n%s", err, out)
	}
	s.t.Logf("%s", out)
}

// grants makes grants for a session.
func (s *site) grants(id grant.SessionID) func(label, browser string) (string, error) {
	return func(label, browser string) (string, error) { return s.grant(id, label, browser) }
}

// ends is the administrator who ends a session.
func (s *site) ends(ctx context.Context, id grant.SessionID) func() error {
	return func() error { return s.pbx.do(ctx, http.MethodPost, "remote/"+string(id)+"/end", nil, nil) }
}

// desk is where a script has grants made, and the session ended. It gives its address.
func desk(t *testing.T, grants func(label, browser string) (string, error), end func() error) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /grant", func(w http.ResponseWriter, r *http.Request) {
		text, err := grants(r.PostFormValue("label"), r.PostFormValue("browser"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(text)) // the script says where it fails
	})
	mux.HandleFunc("POST /end", func(w http.ResponseWriter, _ *http.Request) {
		if err := end(); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}
