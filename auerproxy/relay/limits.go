package relay

import (
	"context"
	runtimemetrics "runtime/metrics"

	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// byteLimit bounds one direction; nil has no bound.
type byteLimit = *rate.Limiter

func newByteLimit(perSecond int64) byteLimit {
	if perSecond <= 0 {
		return nil
	}
	// A burst below one chunk of a splice could never be granted.
	return rate.NewLimiter(rate.Limit(perSecond), int(max(perSecond/4, splice.MaxChunk)))
}

// direction is a pair of limits, one per direction.
type direction struct{ up, down byteLimit }

// streamLimit bounds the bytes of a device's streams: its own share and that of
// each tenant that it belongs to. The zero value has no bound.
type streamLimit []direction

// tenant is a configured group with its limiters, shared by all its devices.
type tenant struct {
	serials patterns
	limit   direction
}

func newTenant(t Tenant) *tenant {
	return &tenant{
		serials: patterns(t.Serials),
		limit:   direction{newByteLimit(int64(t.BytesPerSecond)), newByteLimit(int64(t.BytesPerSecond))},
	}
}

// deviceLimit makes the limits of one device session.
func (r *Relay) deviceLimit(s identity.Serial) streamLimit {
	var l streamLimit
	if n := int64(r.cfg.Limits.BytesPerSecond); n > 0 {
		l = append(l, direction{newByteLimit(n), newByteLimit(n)})
	}
	for _, t := range r.tenants {
		if t.serials.match(s) {
			l = append(l, t.limit)
		}
	}
	return l
}

type waitFunc = func(ctx context.Context, n int) error

// downlink waits for the right to send n bytes to the device, uplink for those
// that it sends. Nil where there is no bound.
func (l streamLimit) downlink() waitFunc {
	return l.wait(func(d direction) byteLimit { return d.down })
}

func (l streamLimit) uplink() waitFunc {
	return l.wait(func(d direction) byteLimit { return d.up })
}

func (l streamLimit) wait(pick func(direction) byteLimit) waitFunc {
	if len(l) == 0 {
		return nil
	}
	return func(ctx context.Context, n int) error {
		for _, d := range l {
			if err := pick(d).WaitN(ctx, n); err != nil {
				return err
			}
		}
		return nil
	}
}

// overMemory reports whether the process uses more memory than it may.
func (r *Relay) overMemory() bool {
	most := uint64(max(r.cfg.Limits.Memory, 0))
	if most == 0 {
		return false
	}
	samples := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(samples)
	return samples[0].Value.Uint64()-samples[1].Value.Uint64() > most
}
