package pairing_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// killings is how many times a program is killed: AUER_TEST_KILLINGS, or few enough for
// every day.
func killings(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("AUER_TEST_KILLINGS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 10
}

// TestKilled kills the control centre or the PBX at some moment while a pairing is made
// or dissolved, and starts it again: in the end both sides say that they are paired with
// one another, or both that they are not, and the PBX has no user too many.
func TestKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes long")
	}
	n := killings(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not a secret
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience+time.Duration(n)*patience/2)
	defer cancel()
	w := start(ctx, t, world.Config{Kind: world.Processes, DeviceCount: 1, CentreSet: []string{
		"pairing.offers_per_hour=100000", "pairing.offers_per_serial=100000", "pairing.requests_per_minute=100000",
		"pairing.retry_max=1s", "account.lifetime=24h", "api.limits.requests=1000000",
	}})
	k := &killed{w: w, c: customer(ctx, t, w), pbx: installer(ctx, t, w, 0)}
	var err error
	if k.before, err = k.pbx.users(ctx); err != nil {
		t.Fatal(err)
	}
	saved, err := k.c.save(ctx, string(w.Device(0)), "killed")
	if err != nil {
		t.Fatal(err)
	}
	k.id = saved.System.ID
	outcomes := make(map[string]int)
	for i := range n {
		paired := k.settle(ctx, t)
		if !paired && i%2 == 1 { // so that there is something to dissolve
			k.pair(ctx)
			if paired = k.settle(ctx, t); !paired {
				t.Fatal("control: nobody was killed, and they are not paired")
			}
		}
		what, victim := k.step(ctx, r, paired)
		time.Sleep(time.Duration(r.Int64N(int64(600 * time.Millisecond)))) // the moment is what is drawn
		k.kill(ctx, t, victim)
		<-what.done
		after := k.settle(ctx, t)
		outcomes[fmt.Sprintf("%s, %s killed: paired %t", what.name, victim, after)]++
		if (i+1)%20 == 0 {
			t.Logf("%d killed", i+1)
		}
	}
	for what, n := range outcomes {
		t.Logf("%3d × %s", n, what)
	}
}

type killed struct {
	w      *world.World
	c, pbx *person
	id     string
	before []string // users of the PBX without a pairing
}

// doing is something that goes on while somebody is killed; it may fail.
type doing struct {
	name string
	done chan struct{}
}

// step begins to pair, or to dissolve where there is a pairing, and says who is to be
// killed.
func (k *killed) step(ctx context.Context, r *rand.Rand, paired bool) (d doing, victim string) {
	victim = []string{"control centre", "PBX"}[r.IntN(2)]
	d = doing{name: "pairing", done: make(chan struct{})}
	now := *k // later there are others
	run := now.pair
	if paired {
		d.name, run = "removing", now.remove
		if r.IntN(2) == 0 {
			d.name, run = "switching off", now.switchOff
		}
	}
	go func() {
		defer close(d.done)
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		run(ctx)
	}()
	return d, victim
}

func (k *killed) pair(ctx context.Context) {
	var o api.Offer
	if err := k.c.do(ctx, http.MethodPost, "systems/"+k.id+"/offer", nil, &o); err != nil {
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for { // until the offer has come
		l, err := k.pbx.local(ctx)
		if err != nil {
			return
		}
		for _, here := range l.Offers {
			if here.ID == o.ID {
				_ = k.pbx.enable(ctx, k.w, 0, o.Token)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *killed) switchOff(ctx context.Context) {
	_ = k.pbx.do(ctx, http.MethodPost, "ccc/disable", struct{}{}, nil)
}

func (k *killed) remove(ctx context.Context) {
	_ = k.c.do(ctx, http.MethodDelete, "systems/"+k.id, nil, nil)
}

// kill kills somebody and starts him again.
func (k *killed) kill(ctx context.Context, t *testing.T, victim string) {
	t.Helper()
	if victim == "PBX" {
		if err := k.w.KillDevice(0); err != nil {
			t.Fatal(err)
		}
		if err := k.w.StartDevice(ctx, 0); err != nil {
			t.Fatal(err)
		}
		k.pbx = installer(ctx, t, k.w, 0)
		return
	}
	if err := k.w.KillCentre(); err != nil {
		t.Fatal(err)
	}
	if err := k.w.StartCentre(ctx); err != nil {
		t.Fatal(err)
	}
}

// settle waits until both sides say the same.
func (k *killed) settle(ctx context.Context, t *testing.T) (paired bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	eventually(ctx, t, "both sides say the same", func() error {
		s, err := k.c.system(ctx, k.id)
		if isCode(err, "not_found") { // it was removed
			var saved api.SystemOffer
			if saved, err = k.c.save(ctx, string(k.w.Device(0)), "killed"); err == nil {
				k.id, s = saved.System.ID, saved.System
			}
		}
		if err != nil {
			return err
		}
		l, err := k.pbx.local(ctx)
		if err != nil {
			return err
		}
		users, err := k.pbx.users(ctx)
		if err != nil {
			return err
		}
		switch {
		case len(users) > len(k.before)+1:
			t.Fatalf("the PBX has the users %q", users)
		case s.State == store.StatePaired && l.Paired != nil && len(users) == len(k.before)+1:
			paired = true
			return nil
		case s.State != store.StatePaired && s.State != store.StateProving && l.Paired == nil && !l.Enabled && slices.Equal(users, k.before):
			paired = false
			return nil
		}
		return fmt.Errorf("the control centre says %s %s, the PBX %+v with %q", s.State, s.ErrorCode, l, users)
	})
	return paired
}
