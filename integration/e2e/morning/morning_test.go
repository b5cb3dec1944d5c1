package morning

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/integration/e2e/browser"
	"github.com/comtrexx-cloud/comtrexx/integration/programs"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

// patience is far more than all of it takes.
const patience = 6 * time.Minute

// shortDir makes a directory.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "m") //nolint:usetesting // that of t.TempDir has too long a name for unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestMorning is all of it; testdata/morning.mjs says what he does.
func TestMorning(t *testing.T) {
	t.Parallel()
	b := browser.Find(t)
	dir := shortDir(t)
	bin, err := programs.Build("pki", "auerproxy", "ccc", "pbx")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := world.Start(ctx, world.Config{
		Dir: filepath.Join(dir, "w"), Kind: world.Processes, Bin: bin, Centre: true, PBX: true, DeviceCount: pbxs,
		CentreSet: []string{"account.external_url=http://localhost", "fleet.offline_after=1s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := w.AwaitDevices(ctx, pbxs); err != nil {
		t.Fatal(err)
	}
	s := settle(ctx, t, w)
	if err := s.trouble(ctx); err != nil {
		t.Fatal(err)
	}
	b.Run(ctx, t, "testdata/morning.mjs", map[string]any{
		"password": password, "names": names,
		"ccc": strings.Replace(w.Centre().HTTP, "127.0.0.1", "localhost", 1), "customer": s.customerID, "systems": s.systems,
	})
}

// trouble takes three PBXs offline: one without a farewell, one that says it, and one
// whose certificate is blocked.
func (s *town) trouble(ctx context.Context) error {
	err := errors.Join(
		s.w.KillDevice(pbxPower), s.w.StopDevice(ctx, pbxShutdown), s.w.Block(ctx, s.w.Device(pbxBlocked), "stolen"),
	)
	if err != nil {
		return err
	}
	return eventually(ctx, func() error {
		for _, i := range []int{pbxPower, pbxShutdown} {
			got, err := s.customer.GetSystem(ctx, s.systems[i])
			if err == nil && got.Online {
				err = fmt.Errorf("%s is still online", names[i])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
