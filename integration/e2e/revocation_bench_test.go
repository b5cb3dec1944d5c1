package e2e_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// BenchmarkBlockToCut measures from the administrator's block, over the PKI's store
// and feed and the relay, to the end of a call that is open to the device, with a
// hundred devices connected.
func BenchmarkBlockToCut(b *testing.B) {
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // too long for unix sockets
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	const devices = 100
	w, err := world.Start(ctx, world.Config{Kind: world.InProcess, Dir: dir, DeviceCount: devices})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	}()
	if err := w.AwaitDevices(ctx, devices); err != nil {
		b.Fatal(err)
	}
	d, err := w.Dialer(ctx, "ccc")
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		if len(took) == devices {
			b.Fatalf("there are %d devices, each of which is blocked once: use -benchtime %dx or less", devices, devices)
		}
		victim := w.Device(len(took))
		conn, err := d.DialContext(ctx, victim, "echo")
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		start := time.Now()
		if err := w.Block(ctx, victim, "benchmark"); err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn) // until it is cut
		took = append(took, time.Since(start))
		_ = conn.Close()
	}
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000 }
	for _, p := range []int{50, 99} {
		b.ReportMetric(at(p), fmt.Sprintf("p%d-ms", p))
	}
}
