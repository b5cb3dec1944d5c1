package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// As many as are asked for refuse in the second ring and in the last one, and none elsewhere.
func TestFaulty(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{PBXs: 1000, Faulty: 3}, {PBXs: 50, Faulty: 2}, {PBXs: 1000, Faulty: 99}, {PBXs: 11, Faulty: 1}, {PBXs: 1000}} {
		o.Parallel = 10
		if err := o.Validate(); err != nil {
			t.Error(err)
		}
		var rings [3]int
		for i := range o.PBXs {
			ring := 2
			switch {
			case i == 0:
				ring = 0
			case i <= o.tenth():
				ring = 1
			}
			if o.faulty(i) {
				rings[ring]++
			}
		}
		if want := [3]int{0, o.Faulty, o.Faulty}; rings != want {
			t.Errorf("%+v: %v refuse, want %v", o, rings, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"few": {PBXs: 9, Parallel: 1}, "many": {PBXs: 1001, Parallel: 1}, "faulty": {PBXs: 100, Faulty: 10, Parallel: 1}, "parallel": {PBXs: 100}, "too parallel": {PBXs: 100, Parallel: 65},
	} {
		if o.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	r := Report{
		Engine: store.SQLite, PBXs: 1000, Faulty: 3, Parallel: 50, Halts: 2, Elapsed: 10 * time.Second,
		Rings: []Ring{{Systems: 1, Elapsed: time.Second}, {Systems: 100, Elapsed: 2 * time.Second, Halted: time.Second}}, Results: map[string]int{"done": 994, "failed answer": 6},
	}
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1000 PBXs, 50 at once", "994 changed in 10s, 99.4/s; 2 halts", "done 994, failed answer 6"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}
