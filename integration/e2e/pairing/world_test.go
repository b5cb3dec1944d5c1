package pairing_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/integration/programs"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// patience is far more than anything here takes.
const patience = 60 * time.Second

// shared is the directory for what tests share.
var shared string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if shared, err = os.MkdirTemp("", "pairing-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(shared) }()
		code := m.Run()
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop")); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}())
}

// cheapHash is the least that the control centre takes for a password, where it runs in
// this process: the race detector looks at every byte that a hash reads. The real
// programs, which have no race detector, keep the default.
var cheapHash = []string{"account.hash.memory=8MiB", "account.hash.passes=1", "account.hash.lanes=1"}

// start starts a world with a control centre and n PBXs, which are online.
func start(ctx context.Context, t *testing.T, cfg world.Config) *world.World {
	t.Helper()
	if cfg.Kind == world.Processes {
		bin, err := programs.Build("pki", "auerproxy", "ccc", "pbx")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Bin = bin
	} else {
		cfg.CentreSet = append(slices.Clone(cheapHash), cfg.CentreSet...)
	}
	cfg.Centre, cfg.PBX = true, true
	dir, err := os.MkdirTemp("", "p") // t.TempDir is too long for unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg.Dir = dir
	w, err := world.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := w.AwaitDevices(ctx, w.Devices()); err != nil {
		t.Fatal(err)
	}
	return w
}

// forEachKind runs a test over both kinds of world.
func forEachKind(t *testing.T, devices int, test func(ctx context.Context, t *testing.T, w *world.World)) {
	t.Helper()
	for _, kind := range []world.Kind{world.InProcess, world.Processes} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
			defer cancel()
			test(ctx, t, start(ctx, t, world.Config{Kind: kind, DeviceCount: devices}))
		})
	}
}

// eventually repeats a call until it succeeds.
func eventually(ctx context.Context, t testing.TB, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
