package relay

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// serveStream takes one stream of a caller from preamble to end.
func (s *session) serveStream(ctx context.Context, st tunnel.Stream) {
	if j := s.openStream(ctx, st); j != nil {
		j.start(st, func() { s.fromPeer.Add(-1) })
		return
	}
	s.fromPeer.Add(-1)
}

// openStream takes a stream of a caller from preamble to open-ack; nil where it was
// refused or reset.
func (s *session) openStream(ctx context.Context, st tunnel.Stream) *joint {
	r := s.relay
	p, err := tunnel.ReadPreamble(st, r.cfg.Limits.PreambleTimeout)
	if err != nil {
		r.metrics.opens.WithLabelValues(label(tunnel.CodeOf(err))).Inc()
		tunnel.Refuse(st, err)
		return nil
	}
	if asksRelay(p) {
		s.serveWatch(ctx, st, p)
		return nil
	}
	j, err := r.open(ctx, s.peer, p)
	if err != nil {
		tunnel.Refuse(st, err)
		return nil
	}
	if s.peer.Kind == identity.KindDevice {
		j.callerSession = s
	}
	ack := &tunnel.OpenAck{Hops: j.hops}
	if j.data != nil {
		ack.Data, ack.DataTicket = true, j.data.caller.ticket[:]
	}
	if err := tunnel.WriteOpenAck(st, ack); err != nil {
		j.abort(tunnel.CodeTunnelGone)
		st.Reset(tunnel.CodeTunnelGone)
		return nil
	}
	return j
}

// joint is an opened stream to a target, about to be joined with its caller's.
type joint struct {
	relay  *Relay
	record record // of its end
	target *session
	stream tunnel.Stream
	hops   []*tunnel.Hop
	// data is set where the device has made a data connection.
	data *dataPair
	// callerSession is set where the caller is a device.
	callerSession *session
}

// open asks the policy, finds the target's session, and opens a stream there. The
// joint must be run or aborted. Every outcome is counted, and every refusal
// recorded.
func (r *Relay) open(ctx context.Context, caller identity.ID, p *tunnel.Preamble) (*joint, error) {
	start := time.Now()
	target, err := identity.ParsePath(r.self.TrustDomain, p.GetTarget())
	if err != nil {
		return nil, r.refuse(caller, p, start, tunnel.Errorf(tunnel.CodeProtocol, "preamble.target: %w", err))
	}
	if err := allow(r.cfg.Policy, caller, target, p.GetService(), p.GetInner()); err != nil {
		return nil, r.refuse(caller, p, start, err)
	}
	return r.openTo(ctx, caller, target, p, start)
}

// openTo is open without the policy, for callers that were let in otherwise.
func (r *Relay) openTo(ctx context.Context, caller, target identity.ID, p *tunnel.Preamble, start time.Time) (*joint, error) {
	j, err := r.reach(ctx, caller, target, p, start)
	if err != nil {
		return nil, r.refuse(caller, p, start, err)
	}
	r.metrics.opens.WithLabelValues(label(tunnel.CodeOK)).Inc()
	r.metrics.openSeconds.Observe(time.Since(start).Seconds())
	return j, nil
}

// refuse counts and records a stream that is not opened, and gives err back.
func (r *Relay) refuse(caller identity.ID, p *tunnel.Preamble, start time.Time, err error) error {
	code := tunnel.CodeOf(err)
	r.metrics.opens.WithLabelValues(label(code)).Inc()
	r.records.add(record{
		Kind: "refused", Target: p.GetTarget(), Service: p.GetService(), Caller: caller.Path(),
		Request: hex.EncodeToString(p.GetRequestId()), Start: start, Code: code,
	})
	return err
}

// reach opens a stream to the target on one of its sessions.
func (r *Relay) reach(ctx context.Context, caller, target identity.ID, p *tunnel.Preamble, start time.Time) (*joint, error) {
	timeout := r.cfg.Limits.OpenTimeout
	if ms := p.GetTimeoutMs(); ms > 0 {
		timeout = min(timeout, time.Duration(ms)*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// What the caller's certificate says replaces what it wrote.
	p.Caller = caller.Path()

	if s := r.forwards[target]; s != nil {
		return r.forward(ctx, s, p, start)
	}
	var last error = r.absent()
	for _, s := range r.route(target) {
		if s.toPeer.Add(1) > int64(r.streamsTo(target)) {
			s.toPeer.Add(-1)
			r.metrics.drops.WithLabelValues("streams_to_peer").Inc()
			last = &tunnel.Error{Code: tunnel.CodeTooManyStreams}
			continue
		}
		offer := r.offerData(target, p)
		st, ack, err := tunnel.Open(ctx, s.ts, p)
		if err == nil {
			data, err := r.acceptData(offer, ack)
			if err != nil {
				st.Reset(tunnel.CodeOf(err))
				s.toPeer.Add(-1)
				return nil, err
			}
			took := &tunnel.Hop{At: r.self.Path(), TookUs: uint32(min(time.Since(start).Microseconds(), 1<<32-1))} //nolint:gosec // bounded
			return &joint{
				relay: r, target: s, stream: st, data: data, hops: append([]*tunnel.Hop{took}, ack.GetHops()...),
				record: record{
					Kind: "stream", Target: p.GetTarget(), Service: p.GetService(), Caller: p.GetCaller(),
					Request: hex.EncodeToString(p.GetRequestId()), Start: start,
				},
			}, nil
		}
		if offer != nil {
			offer.close()
		}
		s.toPeer.Add(-1)
		if last = err; !tunnel.Retryable(err) {
			break
		}
	}
	return nil, last
}

// absent is the answer for a target without a session here. While the relay is
// being emptied the target may just have moved, and another relay knows better.
func (r *Relay) absent() *tunnel.Error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.draining {
		return &tunnel.Error{Code: tunnel.CodeDraining}
	}
	return errNotReachable
}

func (r *Relay) streamsTo(target identity.ID) int {
	if target.Kind == identity.KindService {
		return r.cfg.Limits.StreamsFromService
	}
	return r.cfg.Limits.StreamsPerDevice
}

// abort gives the opened stream up.
func (j *joint) abort(code tunnel.Code) {
	j.data.abort()
	j.stream.Reset(code)
	j.target.toPeer.Add(-1)
}

// run copies between the caller and the target until both are done.
func (j *joint) run(caller net.Conn) {
	o := j.begin()
	j.end(j.carry(caller, o))
}

// start is run without a goroutine that waits: after is called at the end, before
// which the relay's work is not done.
func (j *joint) start(caller net.Conn, after func()) {
	r := j.relay
	if j.data != nil {
		j.run(caller)
		after()
		return
	}
	r.work.Add(1)
	splice.Start(caller, j.stream, j.begin(), func(res splice.Result) {
		defer r.work.Done()
		j.end(res)
		after()
	})
}

// begin counts the stream, and gives its bounds, which are those of the device,
// whichever side it is on.
func (j *joint) begin() splice.Options {
	r := j.relay
	r.metrics.streams.Inc()
	r.rush.callBegins()
	j.hops = nil // told already
	toTarget, toCaller := j.target.limit.downlink(), j.target.limit.uplink()
	if j.callerSession != nil {
		toTarget, toCaller = j.callerSession.limit.uplink(), j.callerSession.limit.downlink()
	}
	return splice.Options{
		IdleTimeout:  r.cfg.Limits.StreamIdle,
		WriteTimeout: r.cfg.Limits.SlowReader,
		AtoB:         &j.target.sent,
		BtoA:         &j.target.received,
		LimitAtoB:    toTarget,
		LimitBtoA:    toCaller,
		Poller:       r.poller,
	}
}

// end accounts for the stream.
func (j *joint) end(res splice.Result) {
	r := j.relay
	j.target.toPeer.Add(-1)
	r.metrics.streams.Dec()
	r.rush.callEnds()
	r.metrics.streamEnds.WithLabelValues(label(res.Reason)).Inc()
	r.metrics.bytes.WithLabelValues("to_target").Add(float64(res.AtoB))
	r.metrics.bytes.WithLabelValues("to_caller").Add(float64(res.BtoA))
	if res.Err != nil && !errors.Is(res.Err, net.ErrClosed) {
		r.log.Debug("stream ended early", "target", j.record.Target, "service", j.record.Service, "error", res.Err)
	}
	j.record.ToTarget, j.record.ToCaller, j.record.Code = res.AtoB, res.BtoA, res.Reason
	r.records.add(j.record)
}
