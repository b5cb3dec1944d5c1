package remote_test

import (
	"context"
	"os"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// TestGatewayInProcess: the gateway in this process has the certificate of its name, also
// after it was stopped and started.
func TestGatewayInProcess(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "g") //nolint:usetesting // t.TempDir is too long for unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := world.Start(ctx, world.Config{Dir: dir, Gateway: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := newCurl(t, w)
	for range 2 {
		if err := w.AwaitNames(ctx); err != nil {
			t.Fatal(err)
		}
		if got := c.run(ctx, "-o", "/dev/null", "-w", "%{http_code}", w.Gateway().URL+"/"); got != "200" {
			t.Errorf("the gateway's page: %s", got)
		}
		if err := w.StopGateway(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.StartGateway(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
