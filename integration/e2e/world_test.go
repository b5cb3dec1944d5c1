package e2e_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/integration/programs"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// patience is far more than anything here takes.
const patience = 60 * time.Second

// forEachKind runs a test over both kinds of world.
func forEachKind(t *testing.T, cfg world.Config, test func(ctx context.Context, t *testing.T, w *world.World)) {
	t.Helper()
	for _, kind := range []world.Kind{world.InProcess, world.Processes} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := cfg
			c.Kind = kind
			if kind == world.Processes {
				bin, err := programs.Build("pki", "auerproxy", "auer-agent")
				if err != nil {
					t.Fatal(err)
				}
				c.Bin = bin
			}
			dir, err := os.MkdirTemp("", "w") //nolint:usetesting // t.TempDir is too long for unix sockets
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			c.Dir = dir
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			w, err := world.Start(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := w.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			if err := w.AwaitDevices(ctx, c.DeviceCount); err != nil {
				t.Fatal(err)
			}
			test(ctx, t, w)
		})
	}
}

func echo(ctx context.Context, d *dial.Dialer, s identity.Serial) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, s, "echo")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

// eventually repeats a call until it succeeds.
func eventually(ctx context.Context, t *testing.T, what string, f func() error) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return time.Since(start)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func TestPageOfADevice(t *testing.T) {
	t.Parallel()
	forEachKind(t, world.Config{DeviceCount: 3}, func(ctx context.Context, t *testing.T, w *world.World) {
		d, err := w.Dialer(ctx, "ccc")
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: d.Transport(), Timeout: patience}
		defer client.CloseIdleConnections()
		for i := range 3 {
			serial := w.Device(i)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+d.Device(serial).DNSName()+"/facts.json", nil)
			if err != nil {
				t.Fatal(err)
			}
			var body []byte
			// The first measurement takes a moment.
			eventually(ctx, t, "facts", func() error {
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				defer func() { _ = resp.Body.Close() }()
				body, err = io.ReadAll(resp.Body)
				if resp.StatusCode != http.StatusOK {
					return errors.New(resp.Status)
				}
				return err
			})
			if !strings.Contains(string(body), string(serial)) || !strings.Contains(string(body), "service/ccc") {
				t.Errorf("the facts name neither %s nor the caller: %s", serial, body)
			}
		}
	})
}

func TestRelayComesBack(t *testing.T) {
	t.Parallel()
	forEachKind(t, world.Config{DeviceCount: 2}, func(ctx context.Context, t *testing.T, w *world.World) {
		d, err := w.Dialer(ctx, "ccc")
		if err != nil {
			t.Fatal(err)
		}
		if err := echo(ctx, d, w.Device(0)); err != nil {
			t.Fatal(err)
		}
		open, err := d.DialContext(ctx, w.Device(0), "echo")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = open.Close() }()

		if err := w.KillRelay(0); err != nil {
			t.Fatal(err)
		}
		if err := w.StartRelay(ctx, 0); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := w.AwaitDevices(ctx, 2); err != nil {
			t.Fatal(err)
		}
		t.Logf("killed and started again: all devices back after %s at a heartbeat of 1s", time.Since(start))
		// The open stream fails with a numbered error and does not hang.
		if err := open.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Logf("deadline on a dead stream: %v", err)
		}
		_, err = open.Read(make([]byte, 1))
		if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() && tunnel.CodeOf(err) == tunnel.CodeOpenTimeout {
			t.Error("the open stream hangs")
		}
		if _, ok := errors.AsType[*tunnel.Error](err); !ok {
			t.Errorf("the open stream failed with %v, want a numbered error", err)
		}
		eventually(ctx, t, "a call after the restart", func() error { return echo(ctx, d, w.Device(1)) })

		if err := w.StopRelay(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.StartRelay(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.AwaitDevices(ctx, 2); err != nil {
			t.Fatal(err)
		}
		eventually(ctx, t, "a call after the stop", func() error { return echo(ctx, d, w.Device(0)) })
	})
}

func TestRevocationCutsALiveTunnel(t *testing.T) {
	t.Parallel()
	forEachKind(t, world.Config{DeviceCount: 2}, func(ctx context.Context, t *testing.T, w *world.World) {
		d, err := w.Dialer(ctx, "ccc")
		if err != nil {
			t.Fatal(err)
		}
		if err := echo(ctx, d, w.Device(0)); err != nil {
			t.Fatal(err)
		}
		if err := w.Block(ctx, w.Device(0), "stolen"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := w.AwaitDevices(ctx, 1); err != nil {
			t.Fatal(err)
		}
		t.Logf("cut %s after the block", time.Since(start))
		if err := echo(ctx, d, w.Device(0)); tunnel.CodeOf(err) != tunnel.CodeNotReachable {
			t.Errorf("call to a blocked device: %v", err)
		}
		if err := echo(ctx, d, w.Device(1)); err != nil {
			t.Errorf("call to another device: %v", err)
		}
		if err := w.Unblock(ctx, w.Device(0), "found"); err != nil {
			t.Fatal(err)
		}
		if err := w.AwaitDevices(ctx, 2); err != nil {
			t.Fatal(err)
		}
		eventually(ctx, t, "a call after the unblock", func() error { return echo(ctx, d, w.Device(0)) })
	})
}
