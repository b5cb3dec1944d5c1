package figure_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/figure"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

func TestWriteGrowth(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.svg")
	if err := figure.WriteGrowth(path, score.Storm, "tunnels", []figure.Line{{Name: "absent"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a figure without a point was written")
	}
	for _, lines := range [][]figure.Line{
		{{Name: "tcp", Points: []figure.Point{{1000, 30}}}, {Name: "absent"}},
		{{Name: "tcp", Points: []figure.Point{{1000, 30}, {10000, 31}}}, {Name: "quic", Points: []figure.Point{{1000, 60}, {50000, 61}}}},
	} {
		if err := figure.WriteGrowth(path, score.TunnelMemory, "tunnels", lines); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"<svg", "tcp", "tunnels", "1000", "relay-KiB/tunnel", "idle tunnel", "</svg>"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %q in the figure", want)
			}
		}
		if strings.Contains(string(text), "absent") {
			t.Error("a line without points is in the legend")
		}
	}
	if err := figure.WriteGrowth(path, score.Storm, "tunnels", []figure.Line{{Name: "tcp", Points: []figure.Point{{0, 1}}}}); err == nil {
		t.Error("a fleet of none on a logarithmic axis")
	}
	if figure.FileName(score.TunnelMemory) != "tunnels" || figure.FileName("?") != "" {
		t.Error("wrong names of files")
	}
}
