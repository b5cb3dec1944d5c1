package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/load/capacity"
)

// bulkChunk is how many bytes one bulk call sends, and gets back.
const bulkChunk = 32 << 20

// probe is what the capacity commands measure of one fleet, for the model.
type probe struct {
	*simulation
	calls  bool          // measure calls and bulk too
	settle time.Duration // that the tunnels get to find their path MTU
	kill   bool          // and at the end the comeback

	m     capacity.Measured
	files float64 // by how many open files the relay's process grew
}

// newProbe makes a probe of a fleet.
func newProbe(o options, progress *load.Progress) *probe {
	return &probe{simulation: newSimulation(o, progress)}
}

// measure connects the fleet and measures it.
func (p *probe) measure(ctx context.Context) error {
	p.progress.Say("%s, %d devices", p.o.transport, p.o.devices)
	err := p.inDir(ctx, p.phases)
	if err == nil && len(p.report.Failures) > 0 {
		err = fmt.Errorf("the simulation went wrong: %s", p.report.Failures[0])
	}
	return err
}

func (p *probe) phases(ctx context.Context, own load.Usage) error {
	filesBefore, err := p.gauge(ctx, "process_open_fds")
	if err != nil {
		return err
	}
	if err := p.connect(ctx, own); err != nil {
		return err
	}
	c := p.report.Connect
	p.m.Tunnels, p.m.Heartbeat = float64(c.Online), p.o.heartbeat.Seconds()
	p.m.Handshakes = capacity.Window{
		Count: float64(c.Online), Seconds: c.Elapsed.Seconds(), CPU: float64(c.Online) * c.CPUPerTunnel.Seconds(), Traffic: p.fleet.Traffic(),
	}
	p.m.Loaded = p.rss("connected")
	files, err := p.gauge(ctx, "process_open_fds")
	if err != nil {
		return err
	}
	p.files = files - filesBefore

	if p.settle > 0 {
		err := p.progress.While(ctx, p.line("settling"), func(ctx context.Context) error {
			return wait(ctx, p.settle)
		})
		if err != nil {
			return err
		}
	}
	beats := float64(c.Online) * p.o.idle.Seconds() / p.o.heartbeat.Seconds()
	if err := p.window(ctx, &p.m.Idle, func(ctx context.Context) (float64, error) { return beats, p.idle(ctx) }); err != nil {
		return err
	}
	p.m.Memory = p.rss("idle for " + p.o.idle.String())
	if p.calls {
		if err := p.measureCalls(ctx); err != nil {
			return err
		}
	}
	p.steady()
	if p.kill {
		return p.simulation.kill(ctx)
	}
	return nil
}

// rss gives the relay's memory at a moment of the report; 0 where there is none.
func (p *probe) rss(when string) float64 {
	for _, point := range p.report.Memory {
		if point.When == when {
			return float64(point.RSS)
		}
	}
	return 0
}

// gauge reads one of the relay's metrics.
func (p *probe) gauge(ctx context.Context, name string) (float64, error) {
	m, err := p.relay.metrics(ctx)
	return m.gauges[name], err
}

// window measures f, which says how many things happened in it.
func (p *probe) window(ctx context.Context, w *capacity.Window, f func(context.Context) (float64, error)) error {
	traffic := p.fleet.Traffic()
	before, err := p.sample(ctx, "", false)
	if err != nil {
		return err
	}
	if w.Count, err = f(ctx); err != nil {
		return err
	}
	after, err := p.sample(ctx, "", false)
	if err != nil {
		return err
	}
	w.Seconds, w.CPU = after.At.Sub(before.At).Seconds(), (after.CPU - before.CPU).Seconds()
	w.Traffic = p.fleet.Traffic().Sub(traffic)
	return nil
}

func (p *probe) measureCalls(ctx context.Context) error {
	caller, err := p.caller()
	if err != nil {
		return err
	}
	return errors.Join(p.callsOf(ctx, caller), caller.Close())
}

func (p *probe) callsOf(ctx context.Context, caller *load.Caller) error {
	idle, err := p.sample(ctx, "before the calls, garbage collected", true)
	if err != nil {
		return err
	}
	called := float64(p.called() * len(p.o.services))
	err = p.window(ctx, &p.m.FirstCalls, func(ctx context.Context) (float64, error) {
		return called, p.progress.While(ctx, p.line("first calls"), caller.Warm)
	})
	if err != nil {
		return err
	}
	kept, err := p.sample(ctx, "with kept sessions, garbage collected", true)
	if err != nil {
		return err
	}
	p.m.StreamMemory = float64(kept.RSS) - float64(idle.RSS)
	if p.m.Streams, err = p.gauge(ctx, "auerproxy_streams"); err != nil {
		return err
	}
	err = p.window(ctx, &p.m.Calls, func(ctx context.Context) (float64, error) {
		r := p.simulation.calls(ctx, "calls", caller)
		if r.Failed > 0 {
			return 0, fmt.Errorf("%d of %d calls failed: %s", r.Failed, r.Calls, r.FirstError)
		}
		return float64(r.Calls), nil
	})
	if err != nil {
		return err
	}
	return p.window(ctx, &p.m.Bulk, func(ctx context.Context) (float64, error) { return p.bulk(ctx, caller) })
}

// called is how many devices are called.
func (p *probe) called() int {
	if p.o.targets > 0 {
		return p.o.targets
	}
	return p.o.devices
}

// bulk sends bulk through two devices, one of each transport in a mixed fleet, for
// the duration of the calls, and counts the bytes of payload that the relay carries.
func (p *probe) bulk(ctx context.Context, caller *load.Caller) (float64, error) {
	var sum float64
	serials := p.fleet.Serials()
	err := p.progress.While(ctx, p.line("bulk"), func(ctx context.Context) error {
		end := time.Now().Add(p.o.duration)
		for i := 0; time.Now().Before(end) || i%2 != 0; i++ {
			if err := caller.Bulk(ctx, serials[i%min(2, len(serials))], bulkChunk); err != nil {
				return err
			}
			sum += 2 * bulkChunk
		}
		return nil
	})
	return sum, err
}

// quicShare is the share of QUIC in a fleet.
func quicShare(transport string) float64 {
	switch transport {
	case agent.TransportQUIC:
		return 1
	case load.TransportMix:
		return 0.5
	default:
		return 0
	}
}
