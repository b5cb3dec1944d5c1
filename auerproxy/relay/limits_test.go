package relay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

func TestByteLimits(t *testing.T) {
	t.Parallel()
	const perDevice, perTenant = 4 * splice.MaxChunk, 6 * splice.MaxChunk
	synctest.Test(t, func(t *testing.T) {
		r := &Relay{cfg: DefaultConfig()}
		r.cfg.Limits.BytesPerSecond = configs.Bytes(perDevice)
		r.tenants = []*tenant{newTenant(Tenant{Serials: []string{"01*"}, BytesPerSecond: configs.Bytes(perTenant)})}
		one, two, other := r.deviceLimit("0100000001"), r.deviceLimit("0100000002"), r.deviceLimit("0200000001")

		// took is how long n chunks on each of the given lines take, one after the
		// other, once the burst is used up.
		took := func(n int, lines ...waitFunc) time.Duration {
			start := time.Now()
			for range n {
				for _, wait := range lines {
					if err := wait(context.Background(), splice.MaxChunk); err != nil {
						t.Fatal(err)
					}
				}
			}
			return time.Since(start)
		}
		took(1, other.downlink()) // the burst
		if got := took(8, other.downlink()); got < 1900*time.Millisecond || got > 2100*time.Millisecond {
			t.Errorf("a device alone: 8 chunks in %s, want 2 s at 4 per second", got)
		}
		took(2, one.downlink(), two.downlink())
		if got := took(6, one.downlink(), two.downlink()); got < 1900*time.Millisecond || got > 2100*time.Millisecond {
			t.Errorf("two devices of a tenant: 12 chunks in %s, want 2 s at 6 per second", got)
		}
		// The other direction has a budget of its own.
		if got := took(1, one.uplink()); got != 0 {
			t.Errorf("the first chunk of the other direction waited %s", got)
		}
	})
}

func TestNoByteLimitByDefault(t *testing.T) {
	t.Parallel()
	r := &Relay{cfg: DefaultConfig()}
	if l := r.deviceLimit("0100000001"); l.downlink() != nil || l.uplink() != nil {
		t.Error("a limit without being configured")
	}
}

func TestReserve(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{cfg: DefaultConfig(), metrics: m}
	r.cfg.Limits.Tunnels = 2
	release, refusal := r.reserve()
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, refusal = r.reserve(); refusal != nil {
		t.Fatal(refusal)
	}
	if _, refusal = r.reserve(); refusal == nil || refusal.RetryAfterMax == 0 {
		t.Errorf("a third session of two: %v, want a refusal with a retry-after", refusal)
	}
	release()
	if _, refusal = r.reserve(); refusal != nil {
		t.Errorf("a place is free again, but: %v", refusal)
	}
	r.cfg.Limits.Tunnels, r.cfg.Limits.Memory = 100, 1
	if _, refusal = r.reserve(); refusal == nil {
		t.Error("welcomed beyond the memory limit")
	}
	r.cfg.Limits.Memory = 1 << 40
	if _, refusal = r.reserve(); refusal != nil {
		t.Errorf("refused below the memory limit: %v", refusal)
	}
}
