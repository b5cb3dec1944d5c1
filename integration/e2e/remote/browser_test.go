package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
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
	node, browser, certutil := tool(t, "node"), tool(t, "chromium"), tool(t, "certutil")
	ui, err := filepath.Abs("../../../ccc/web/ui")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(ui, "node_modules/playwright-core")); err != nil {
		t.Skip("playwright-core is missing: make ui installs it")
	}
	ctx, s := start(t, pbxBrowser)
	home := t.TempDir()
	nss := "sql:" + filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(filepath.Join(home, ".pki", "nssdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-N", "-d", nss, "--empty-password"}, {"-A", "-d", nss, "-n", "root", "-t", "C,,", "-i", s.w.Roots()}} {
		if out, err := exec.CommandContext(ctx, certutil, args...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %q: %v\n%s", args, err, out)
		}
	}
	id := s.ask(ctx, time.Hour)
	s.decide(ctx, id, "allow")
	desk := s.desk(ctx, id)
	text, err := json.Marshal(map[string]any{
		"ui": ui, "chromium": browser, "shots": os.Getenv("AUER_TEST_SCREENSHOTS"), "desk": desk, "session": id,
		"ara": s.w.Gateway().URL, "ccc": s.w.Centre().URL, "domain": world.GatewayName, "conformance": conformance.Path, "megabytes": 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, node, "testdata/browser.mjs")
	cmd.Env = append(os.Environ(), "WORLD="+string(text), "HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"step":"end"`)) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// desk is where the script has grants made, and the administrator end the session. It
// gives its address.
func (s *site) desk(ctx context.Context, id grant.SessionID) string {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /grant", func(w http.ResponseWriter, r *http.Request) {
		text, err := s.grant(id, r.PostFormValue("label"), r.PostFormValue("browser"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(text)) // the script says where it fails
	})
	mux.HandleFunc("POST /end", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.pbx.do(ctx, http.MethodPost, "remote/"+string(id)+"/end", nil, nil); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	srv := httptest.NewServer(mux)
	s.t.Cleanup(srv.Close)
	return srv.URL
}
