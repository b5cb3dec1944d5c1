package pbxs

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
)

// TestFaults: the share is kept, spread, and each fault has its turn.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 0.01, 0.25, 0.3, 1} {
		u := Upkeep{Faulty: share, Faults: pbx.Faults}
		count, firstHalf := make(map[pbx.Fault]int), 0
		for i := range 1200 {
			f := u.fault(i)
			count[f]++
			if f != pbx.FaultNone && i < 600 {
				firstHalf++
			}
		}
		faulty := 1200 - count[pbx.FaultNone]
		if want := int(1200*share + 0.5); faulty != want && faulty != want-1 {
			t.Errorf("%g: %d faulty, want %d", share, faulty, want)
		}
		if firstHalf < faulty/2-1 || firstHalf > faulty/2+1 {
			t.Errorf("%g: %d of %d in the first half", share, firstHalf, faulty)
		}
		for _, f := range pbx.Faults {
			if n := count[f]; n < faulty/3 || n > faulty/3+1 {
				t.Errorf("%g: %d of %d are %q", share, n, faulty, f)
			}
		}
		if u.mayBeGone(1200) != count[pbx.FaultReturn] {
			t.Errorf("%g: %d may be gone", share, u.mayBeGone(1200))
		}
	}
}

// TestUpkeepOptions that cannot be meant.
func TestUpkeepOptions(t *testing.T) {
	t.Parallel()
	o := lab0()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"share":     func(o *Options) { o.Faulty = 1.1 },
		"no faults": func(o *Options) { o.Faulty, o.Faults = 0.1, nil },
		"negative":  func(o *Options) { o.Stay = -1 },
		"restart":   func(o *Options) { o.Restart = -1 },
	} {
		o := lab0()
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// lab0 are good options that are not run.
func lab0() Options {
	return Options{PBXs: 10, Transport: "quic", Patience: 1, Duration: 1, Upkeep: Upkeep{Faults: pbx.Faults}}
}
