package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	built "github.com/comtrexx-cloud/comtrexx/integration/programs"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// patience is far more than anything here takes.
const patience = 3 * time.Minute

// PBXs of the world, one for each test that changes one.
const (
	pbxRules = iota
	pbxCurl
	pbxPage
	pbxBrowser
	pbxSilent
	pbxSealed
	pbxTerminal
	pbxShell
	pbxServices
	pbxHello
	pbxs
)

// shared is what all tests use: the programs, and one world of them.
var shared struct {
	dir   string
	world *world.World
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if shared.dir, err = os.MkdirTemp("", "r"); err != nil { // short, for unix sockets
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(shared.dir) }()
		code := m.Run()
		if shared.world != nil {
			if err := shared.world.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		closeShell()
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop")); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}())
}

// build makes the real programs; that of the PBX takes consents of a second, where the
// real one takes none below a minute, so that a test sees one end by itself.
func build(bin string) error {
	const source, was, is = "../../pbx/remote/config.go", "MinLife     = time.Minute", "MinLife     = time.Second"
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if bytes.Count(text, []byte(was)) != 1 {
		return fmt.Errorf("%s does not have %q once", source, was)
	}
	path, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	changed, overlay := filepath.Join(shared.dir, "config.go"), filepath.Join(shared.dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(changed, bytes.Replace(text, []byte(was), []byte(is), 1), 0o600), os.WriteFile(overlay, list, 0o600))
	if err != nil {
		return err
	}
	if err := built.Changed(bin, overlay, "pbx"); err != nil {
		return err
	}
	others := []string{"pki", "auerproxy", "ccc", "ara"}
	dir, err := built.Build(others...)
	if err != nil {
		return err
	}
	for _, name := range others {
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	return nil
}

// policy is that of the relay: the gateway reaches what it needs of devices, and no more.
var policy = []relay.Rule{
	{Caller: "service/ara", Target: "device", Services: []string{"web", "remote", "tls", "tcp", "ssh"}},
	{Caller: "service/ccc", Target: "device", Services: []string{"*"}},
	{Caller: "device", Target: "service/ccc", Services: []string{"*"}},
	{Caller: "service/ccc", Target: "relay", Services: []string{"presence"}},
}

var startOnce = sync.OnceValue(func() error {
	bin := filepath.Join(shared.dir, "bin")
	if err := build(bin); err != nil {
		return err
	}
	if err := listenShell(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := world.Start(ctx, world.Config{
		Dir: filepath.Join(shared.dir, "w"), Kind: world.Processes, Bin: bin, Centre: true, Gateway: true, PBX: true, DeviceCount: pbxs,
		Policy: policy, LogLevel: "trace",
	})
	if err != nil {
		return err
	}
	shared.world = w
	return errors.Join(w.AwaitDevices(ctx, pbxs), w.AwaitNames(ctx))
})

// started waits for the shared world; what the test does has to end with the context.
func started(t *testing.T) context.Context {
	t.Helper()
	if err := startOnce(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start gives the world, with PBX i paired and remote access switched on.
func start(t *testing.T, i int) (context.Context, *site) {
	t.Helper()
	ctx := started(t)
	return ctx, newSite(ctx, t, shared.world, i)
}

// eventually repeats a call until it succeeds.
func eventually(ctx context.Context, t testing.TB, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
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

// tool finds a program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}
