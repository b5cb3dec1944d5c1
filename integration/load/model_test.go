package load

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseModel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Model{
		"open:rate=200":                   {Kind: Open, Rate: 200, Arrivals: Poisson},
		"open:rate=0.5,arrivals=constant": {Kind: Open, Rate: 0.5, Arrivals: Constant},
		"open:arrivals=poisson,rate=1e3":  {Kind: Open, Rate: 1000, Arrivals: Poisson},
		"closed:users=32":                 {Kind: Closed, Users: 32},
		"closed:users=1,think=150ms":      {Kind: Closed, Users: 1, Think: 150 * time.Millisecond},
	} {
		got, err := ParseModel(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
		again, err := ParseModel(got.String())
		if err != nil || again != got {
			t.Errorf("%s reads back from %q as %+v, %v", text, got, again, err)
		}
	}
}

func TestParseModelErrors(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                           "neither open: nor closed:",
		"poisson:rate=1":             "neither open: nor closed:",
		"open":                       `"", want key=value`,
		"open:":                      `"", want key=value`,
		"open:200":                   `"200", want key=value`,
		"open:users=3":               `"users" is no key of open, want rate or arrivals`,
		"closed:rate=3":              `"rate" is no key of closed, want users or think`,
		"open:arrivals=poisson":      "rate is missing",
		"closed:think=1s":            "users is missing",
		"open:rate=1,rate=2":         "rate is there twice",
		"open:rate=0":                `rate: "0", want calls per second`,
		"open:rate=-1":               `rate: "-1", want calls per second`,
		"open:rate=NaN":              `rate: "NaN", want calls per second`,
		"open:rate=1e7":              "at most 1000000",
		"open:rate=1,arrivals=burst": `arrivals: "burst", want poisson or constant`,
		"closed:users=0":             `users: "0", want 1 to 1000000`,
		"closed:users=many":          `users: "many", want 1 to 1000000`,
		"closed:users=1,think=soon":  `think: "soon", want a time`,
		"closed:users=1,think=-1s":   `think: "-1s", want a time`,
	} {
		_, err := ParseModel(text)
		if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want it to say %s", text, err, says)
		}
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	collect := func(m Model, seed uint64) (list []time.Duration) {
		for d := range m.schedule(10*time.Second, seed) {
			list = append(list, d)
		}
		return list
	}
	constant := collect(Model{Kind: Open, Rate: 3, Arrivals: Constant}, 1)
	if len(constant) != 30 || constant[0] != 0 || constant[29] != 29*time.Second/3 {
		t.Errorf("constant: %v", constant)
	}
	poisson := Model{Kind: Open, Rate: 100, Arrivals: Poisson}
	a, b, c := collect(poisson, 7), collect(poisson, 7), collect(poisson, 8)
	if len(a) != len(b) || a[len(a)-1] != b[len(b)-1] {
		t.Error("the same seed gives other arrivals")
	}
	if a[0] == c[0] {
		t.Error("another seed gives the same arrivals")
	}
	// 1000 are expected; the standard deviation is 32.
	if n := len(a); n < 850 || n > 1150 {
		t.Errorf("%d arrivals in 10 s at 100 per second", n)
	}
}
