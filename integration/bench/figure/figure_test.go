package figure_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/figure"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

// A metric is drawn with every contestant and work that has it, and one without
// figures is not.
func TestWriteAll(t *testing.T) {
	t.Parallel()
	r := &score.Report{Works: []string{"req1", "req32"}, Contestants: []score.Contestant{{Name: "one"}, {Name: "two"}, {Name: "absent"}}}
	for round := range 2 {
		for _, name := range []string{"one", "two"} {
			for _, work := range r.Works {
				r.Cells = append(r.Cells, score.Cell{
					Round: round + 1, Contestant: name, Work: work, Figures: map[score.Metric]float64{score.Rate: float64(100 + round)},
				})
			}
		}
	}
	dir := t.TempDir()
	if err := figure.WriteAll(dir, r); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "rate.svg" {
		t.Fatalf("files %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "one", "two", "req1", "req32", "ops/s", "</svg>"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in the figure", want)
		}
	}
	if strings.Contains(string(text), "absent") {
		t.Error("a contestant without figures is drawn")
	}
	if err := figure.WriteAll(filepath.Join(dir, "missing"), r); err == nil {
		t.Error("written to a directory that does not exist")
	}
}
