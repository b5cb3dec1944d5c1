package dial

import (
	"context"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Report is the outcome of a trace.
type Report struct {
	Target  string `json:"target"`
	Service string `json:"service"`
	// Relay is the identity of the relay that reached the target, empty without one.
	Relay     string           `json:"relay,omitempty"`
	Transport tunnel.Transport `json:"transport,omitempty"`
	RequestID []byte           `json:"request_id"`
	// Steps are in the order in which they were taken, those at relays that did not
	// reach the target included.
	Steps []Step        `json:"steps"`
	Total time.Duration `json:"total_ns"`
}

// Step is one step of a trace.
type Step struct {
	// Name is "tcp" or "quic" (to the relay), "tls" (over TCP), "welcome", "open"
	// (through the relay to the target), "end-to-end" (TLS with the target, and its
	// welcome), or "call" (to the service).
	Name string `json:"name"`
	// At is the relay's address or the target's path: who answered.
	At   string        `json:"at"`
	Took time.Duration `json:"took_ns"`
	// Hops is what the answering side says its own steps took, nearest first: the
	// relay for "open", "target" (the device's local server) for "call".
	Hops []HopTime `json:"hops,omitempty"`
	// Code and Error say how the step failed; OK and empty if it did not.
	Code  tunnel.Code `json:"code,omitempty"`
	Error string      `json:"error,omitempty"`
}

// HopTime is one entry of Step.Hops.
type HopTime struct {
	At   string        `json:"at"`
	Took time.Duration `json:"took_ns"`
}

// Trace opens one call over new sessions all the way, times each step, and closes
// everything again. It asks one relay after the other like [Dialer.Open]. The
// error is that of Open; the report is filled up to where it failed.
func (d *Dialer) Trace(ctx context.Context, serial identity.Serial, service string) (Report, error) {
	call := Call{Target: d.Device(serial), Service: service, Purpose: "trace", RequestID: tunnel.NewID()}
	r := Report{Target: call.Target.Path(), Service: service, RequestID: call.RequestID}
	if err := call.validate(); err != nil {
		return r, err
	}
	if d.ctx.Err() != nil {
		return r, tunnel.Errorf(tunnel.CodeShutdown, "the dialer is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, d.cfg.Timing.OpenTimeout)
		defer cancel()
	}
	t := &tracer{dialer: d, call: call, report: &r, start: time.Now()}
	var told error
	for _, l := range d.order(call.Target) {
		err := t.via(ctx, l.addr)
		if err == nil {
			told = nil
			break
		}
		told = moreTelling(told, err)
		if ctx.Err() != nil || !tunnel.Retryable(err) {
			break
		}
	}
	r.Total = time.Since(t.start)
	return r, told
}

// tracer takes the steps of one trace.
type tracer struct {
	dialer *Dialer
	call   Call
	report *Report
	start  time.Time
}

// step times f.
func (t *tracer) step(name, at string, f func() ([]*tunnel.Hop, error)) error {
	begin := time.Now()
	hops, err := f()
	t.add(name, at, time.Since(begin), hops, err)
	return err
}

func (t *tracer) add(name, at string, took time.Duration, hops []*tunnel.Hop, err error) {
	s := Step{Name: name, At: at, Took: took}
	if err != nil {
		s.Code, s.Error = tunnel.CodeOf(err), err.Error()
	}
	for _, h := range hops {
		s.Hops = append(s.Hops, HopTime{h.GetAt(), time.Duration(h.GetTookUs()) * time.Microsecond})
	}
	t.report.Steps = append(t.report.Steps, s)
}

// via traces the call through one relay.
func (t *tracer) via(ctx context.Context, addr string) error {
	s, err := t.connect(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = s.CloseWithError(tunnel.CodeShutdown, "trace done") }()
	var welcome *tunnel.Welcome
	err = t.step("welcome", addr, func() (_ []*tunnel.Hop, err error) {
		// An instance id of its own, so that it replaces no session of the dialer.
		_, welcome, err = tunnel.Connect(ctx, s, t.dialer.hello(tunnel.NewID()))
		return nil, err
	})
	if err != nil {
		return numbered(ctx, addr, s.Transport(), err)
	}
	var outer tunnel.Stream
	err = t.step("open", addr, func() (_ []*tunnel.Hop, err error) {
		var ack *tunnel.OpenAck
		outer, ack, err = tunnel.Open(ctx, s, t.call.preamble(tunnelpb.Inner_INNER_MUX))
		return ack.GetHops(), err
	})
	if err != nil {
		return err
	}
	t.report.Relay, t.report.Transport = welcome.GetRelay(), s.Transport()
	var inner *e2e.Session
	err = t.step("end-to-end", t.report.Target, func() (_ []*tunnel.Hop, err error) {
		inner, err = e2e.Client(ctx, outer, t.dialer.cfg.Credentials, t.call.Target, t.dialer.hello(t.dialer.boot))
		return nil, err
	})
	if err != nil {
		return err
	}
	defer func() { _ = inner.CloseWithError(tunnel.CodeShutdown, "trace done") }()
	return t.step("call", t.report.Target, func() ([]*tunnel.Hop, error) {
		st, ack, err := tunnel.Open(ctx, inner, t.call.preamble(tunnelpb.Inner_INNER_PLAIN))
		if err == nil {
			_ = st.Close()
		}
		return ack.GetHops(), err
	})
}

// connect gets a session by the first transport that gives one.
func (t *tracer) connect(ctx context.Context, addr string) (tunnel.Session, error) {
	var told error
	for _, l := range t.dialer.legs() {
		ctx, cancel := context.WithTimeout(ctx, t.dialer.cfg.Timing.ConnectTimeout)
		s, err := t.dial(ctx, l, addr)
		cancel()
		if err == nil {
			return s, nil
		}
		told = moreTelling(told, err)
	}
	return nil, told
}

// dial takes the steps of one transport: over TCP the connection and TLS are told
// apart.
func (t *tracer) dial(ctx context.Context, l leg, addr string) (tunnel.Session, error) {
	begin := time.Now()
	var connected time.Time
	if l.transport == tunnel.TCP && t.dialer.cfg.TCP == nil {
		l.dialer = t.dialer.tcpDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			var nd net.Dialer
			c, err := nd.DialContext(ctx, network, addr)
			if err == nil {
				connected = time.Now()
			}
			return c, err
		})
	}
	s, err := l.dialer.Dial(ctx, addr)
	if err != nil {
		err = numbered(ctx, addr, l.transport, err)
	}
	if connected.IsZero() {
		t.add(string(l.transport), addr, time.Since(begin), nil, err)
		return s, err
	}
	t.add(string(l.transport), addr, connected.Sub(begin), nil, nil)
	t.add("tls", addr, time.Since(connected), nil, err)
	return s, err
}
