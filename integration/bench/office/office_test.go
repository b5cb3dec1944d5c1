package office

import (
	"slices"
	"testing"
	"time"
)

func TestShares(t *testing.T) {
	t.Parallel()
	for _, of := range []struct{ pbxs, customers int }{{10_000, 198}, {1000, 18}, {100, 10}, {30, 1}} {
		got := shares(of.pbxs, of.customers)
		sum := 0
		for _, n := range got {
			sum += n
		}
		if sum != of.pbxs || slices.Min(got) < 1 {
			t.Errorf("%d PBXs of %d customers: %v, %d in all", of.pbxs, of.customers, got, sum)
		}
	}
	if got := shares(10_000, 198)[0]; got < 1900 || got > 2200 {
		t.Errorf("the largest of 198 customers has %d of 10000 PBXs, want about a fifth", got)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Options{PBXs: 30, Tenants: 3, Users: 1, Online: 2, Duration: time.Second, Pause: time.Second}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Options){
		"tenants": func(o *Options) { o.Tenants = 2 }, "pbxs": func(o *Options) { o.PBXs = 2 }, "online": func(o *Options) { o.Online = 31 },
		"users": func(o *Options) { o.Users = 0 }, "duration": func(o *Options) { o.Duration = 0 }, "pause": func(o *Options) { o.Pause = 0 },
	} {
		o := good
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
