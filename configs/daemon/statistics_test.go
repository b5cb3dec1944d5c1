package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// TestStatistics: what was counted can be asked for at the admin listener, and has no
// address in it.
func TestStatistics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before, _ := newDaemon(t, Config{AccessLog: accesslog.Config{Dir: dir}})
	ctx, cancel := context.WithCancel(t.Context())
	err := before.Run(ctx, Component{Name: "x", Run: func(ctx context.Context) error {
		for i := range 12 {
			before.AccessLog().Record(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), accesslog.Refused)
		}
		cancel()
		<-ctx.Done()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := newDaemon(t, Config{AccessLog: accesslog.Config{Dir: dir}})
	running(t, d)
	for _, query := range []string{"", "?by=hour&days=31", "?by=day&days=366"} {
		status, text := request(t, d, http.MethodGet, "/access-log/statistics"+query, "", nil)
		var s accesslog.Summary
		if err := json.Unmarshal([]byte(text), &s); err != nil || status != http.StatusOK || !s.Kept || s.Service != "test" ||
			len(s.Totals) != 1 || s.Totals[0].Count != 12 || s.Totals[0].Class != accesslog.Refused || s.Oldest == nil || strings.Contains(text, "198.51") {
			t.Errorf("%s: %d %s, %v", query, status, text, err)
		}
	}
	for _, query := range []string{"?by=minute", "?days=0", "?days=367", "?days=x"} {
		if status, _ := request(t, d, http.MethodGet, "/access-log/statistics"+query, "", nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, status)
		}
	}
	none, _ := newDaemon(t, Config{})
	running(t, none)
	if status, text := request(t, none, http.MethodGet, "/access-log/statistics", "", nil); status != http.StatusOK || !strings.Contains(text, `"kept":false`) {
		t.Errorf("no log is kept: %d %s", status, text)
	}
	files, err := filepath.Glob(filepath.Join(dir, "stats-*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("broken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, text := request(t, d, http.MethodGet, "/access-log/statistics", "", nil); status != http.StatusInternalServerError || strings.Contains(text, dir) {
		t.Errorf("broken: %d %s", status, text)
	}
}
