package gateway

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/programs"
)

// TestMain is also the PBX, which [Measure] starts as this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == roleName {
		cmd := Role()
		cmd.SetArgs(os.Args[2:])
		if cmd.ExecuteContext(context.Background()) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// usePrograms has it take ours as they are now.
func usePrograms(t *testing.T) {
	t.Helper()
	bin, err := programs.Build("ara", "auerproxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ARA", filepath.Join(bin, "ara"))
	t.Setenv("AUERPROXY", filepath.Join(bin, "auerproxy"))
}

// TestMeasure: a short run has a figure of every work for every contestant that is there,
// and a row for each that is not.
func TestMeasure(t *testing.T) {
	usePrograms(t)
	t.Setenv("CADDY", "")
	path := os.Getenv("PATH")
	if _, err := exec.LookPath("caddy"); err == nil {
		path = t.TempDir() // one of those that others run is missing in any case
	}
	t.Setenv("PATH", path)
	r := new(score.Report)
	err := Measure(t.Context(), Options{
		Rounds: 1, Duration: 20 * time.Millisecond, Sockets: 3, Sessions: 3, Progress: load.NewProgress(t.Output()),
		Watch: func(ctx context.Context, _ string, f func(context.Context) error) error { return f(ctx) },
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"page1", "page32", "h2page32", "down1", "down8", "up1", "socket3", "sessions3"}
	if !slices.Equal(r.Works, want) {
		t.Errorf("works are %q, want %q", r.Works, want)
	}
	for _, c := range r.Contestants {
		var did []string
		for _, cell := range r.Cells {
			if cell.Contestant != c.Name {
				continue
			}
			did = append(did, cell.Work)
			if cell.Errors > 0 || len(cell.Figures) == 0 {
				t.Errorf("%s of %s: %s, figures %v", cell.Work, c.Name, cell.First, cell.Figures)
			}
		}
		all := want
		switch {
		case c.Missing != "":
			all = nil
		case c.Name != ARA:
			all = want[:len(want)-1]
		}
		if !slices.Equal(did, all) {
			t.Errorf("%s did %q, want %q", c.Name, did, all)
		}
	}
	if i := slices.IndexFunc(r.Contestants, func(c score.Contestant) bool { return c.Name == Caddy }); i < 0 || r.Contestants[i].Missing == "" {
		t.Errorf("Caddy is not there and is not missing: %+v", r.Contestants)
	}
	var text bytes.Buffer
	if err := r.Write(&text, Nginx); err != nil || !strings.Contains(text.String(), "SESSIONS3") {
		t.Errorf("%v: %s", err, text.String())
	}
}
