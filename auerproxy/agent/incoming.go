package agent

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Call is what is known about one call.
type Call struct {
	// Caller is who calls. It was read from the verified certificate of the
	// end-to-end TLS if Verified, and is the relay's word otherwise.
	Caller   identity.ID
	Verified bool
	// Service is the name under which the service was asked for.
	Service string
	// Purpose is the caller's word for what the call is for, e.g. "pairing".
	Purpose string
	// RequestID is the same on every hop: 32 hex digits.
	RequestID string
	// Traceparent is that of W3C Trace Context §3.2; empty if none.
	Traceparent string
}

func newCall(p *tunnel.Preamble, caller identity.ID, verified bool) Call {
	return Call{
		Caller: caller, Verified: verified, Service: p.GetService(), Purpose: p.GetPurpose(),
		RequestID: hex.EncodeToString(p.GetRequestId()), Traceparent: p.GetTraceparent(),
	}
}

// admit checks a preamble against this device's own rules, whatever the relay
// allows, and gives the service and the caller that the preamble names.
func (a *Agent) admit(p *tunnel.Preamble) (*service, identity.ID, error) {
	if p.GetTarget() != a.self.Path() {
		return nil, identity.ID{}, tunnel.Errorf(tunnel.CodeNotReachable, "this is not the endpoint that was asked for")
	}
	caller, err := identity.ParsePath(a.self.TrustDomain, p.GetCaller())
	if err != nil {
		return nil, identity.ID{}, tunnel.Errorf(tunnel.CodeProtocol, "preamble.caller: %w", err)
	}
	s, ok := a.services[p.GetService()]
	if !ok {
		return nil, identity.ID{}, tunnel.Errorf(tunnel.CodeServiceUnknown, "no such service")
	}
	if !s.cfg.allows(a.self, caller, p.GetInner()) {
		s.refused.Add(1)
		return nil, identity.ID{}, tunnel.Errorf(tunnel.CodeRefusedByDevice, "%s may not open %s", caller.Path(), s.cfg.Name)
	}
	return s, caller, nil
}

// handle answers one stream that the relay opened, and has over called once when what
// runs in it is over.
func (l *link) handle(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble, over func()) {
	s, caller, err := l.agent.admit(p)
	if err != nil {
		tunnel.Refuse(st, err)
		over()
		return
	}
	switch p.GetInner() {
	case tunnelpb.Inner_INNER_MUX:
		l.handleMux(ctx, st, s, caller)
		over()
	case tunnelpb.Inner_INNER_TLS:
		l.handleTLS(ctx, st, s, newCall(p, caller, false), l.openData(ctx, s, p), over)
	case tunnelpb.Inner_INNER_RAW:
		if !s.cfg.Raw {
			s.refused.Add(1)
			tunnel.Refuse(st, tunnel.Errorf(tunnel.CodeRefusedByDevice, "%s takes no raw stream", s.cfg.Name))
			over()
			return
		}
		s.take(ctx, newCall(p, caller, false), acked{st, l.session, time.Duration(p.GetTimeoutMs()) * time.Millisecond}, over)
	default:
		tunnel.Refuse(st, tunnel.Errorf(tunnel.CodeProtocol, "a device takes no plain stream from a relay"))
		over()
	}
}

// handleMux serves an end-to-end session of one caller for one service.
func (l *link) handleMux(ctx context.Context, st tunnel.Stream, s *service, caller identity.ID) {
	if err := tunnel.WriteAck(st); err != nil {
		st.Reset(tunnel.CodeOf(err))
		return
	}
	a := l.agent
	hctx, cancel := context.WithTimeout(ctx, a.cfg.Limits.HandshakeTimeout)
	defer cancel()
	session, err := e2e.Server(hctx, st, a.cfg.Credentials, identity.Exactly(caller), a.cfg.Limits.Calls)
	if err != nil {
		s.refused.Add(1)
		a.log.Debug("end-to-end session refused", "service", s.cfg.Name, "caller", caller.Path(), "error", err)
		return
	}
	l.add(session)
	defer l.remove(session)
	_ = e2e.Serve(ctx, session, e2e.ServeConfig{ // why it ended is the caller's business
		MaxStreams: a.cfg.Limits.Calls, PreambleTimeout: a.cfg.Limits.PreambleTimeout,
		IdleTimeout: a.cfg.Limits.SessionIdle, Drain: session.Draining(),
		Start: func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble, over func()) {
			if err := checkInner(session, s, p, a.self); err != nil {
				s.refused.Add(1)
				tunnel.Refuse(st, err)
				over()
				return
			}
			call := newCall(p, session.Peer(), true)
			s.take(ctx, call, acked{st, l.session, time.Duration(p.GetTimeoutMs()) * time.Millisecond}, over)
		},
	})
}

// checkInner checks the preamble of a call inside an end-to-end session: it may
// want only what the relay has authorised the session for.
func checkInner(session *e2e.Session, s *service, p *tunnel.Preamble, self identity.ID) error {
	switch {
	case p.GetTarget() != self.Path() || p.GetService() != s.cfg.Name:
		return tunnel.Errorf(tunnel.CodePolicyDenied, "this session is for %s only", s.cfg.Name)
	case p.GetCaller() != "" && p.GetCaller() != session.Peer().Path():
		return tunnel.Errorf(tunnel.CodeRefusedByDevice, "the caller is %s", session.Peer().Path())
	case p.GetInner() != tunnelpb.Inner_INNER_PLAIN:
		return tunnel.Errorf(tunnel.CodeProtocol, "nothing more runs inside a call of an end-to-end session")
	default:
		return nil
	}
}

// handleTLS serves one end-to-end TLS flow. Its open-ack comes before the TLS
// handshake, so a later refusal is a reset with the code.
//
// data is the call's data connection, nil without one; the caller chooses.
func (l *link) handleTLS(ctx context.Context, st tunnel.Stream, s *service, call Call, data net.Conn, over func()) {
	a := l.agent
	err := tunnel.WriteOpenAck(st, &tunnel.OpenAck{Data: data != nil})
	if err == nil && data != nil {
		st, err = choose(st, data, a.cfg.Limits.HandshakeTimeout)
	}
	if err != nil {
		st.Reset(tunnel.CodeOf(err))
		over()
		return
	}
	hctx, cancel := context.WithTimeout(ctx, a.cfg.Limits.HandshakeTimeout)
	clientAuth := tls.RequireAndVerifyClientCert
	if s.cfg.CallerAuth == CallerAuthRelay {
		clientAuth = tls.VerifyClientCertIfGiven
	}
	flow, err := e2e.ServerTLS(hctx, st, a.cfg.Credentials, clientAuth, identity.Exactly(call.Caller), s.protos...)
	cancel()
	if err != nil {
		s.refused.Add(1)
		a.log.Debug("end-to-end TLS refused", "service", s.cfg.Name, "caller", call.Caller.Path(), "error", err)
		over()
		return
	}
	call.Verified = !flow.Peer().IsZero()
	s.take(ctx, call, opened{flow, l.session}, over)
}

// openData makes the data connection that a preamble offers, if the service takes
// any. Without it the call runs in the tunnel.
func (l *link) openData(ctx context.Context, s *service, p *tunnel.Preamble) net.Conn {
	if !p.GetBulk() || !s.cfg.Bulk || l.data == nil {
		return nil
	}
	ticket, err := bulk.ParseTicket(p.GetDataTicket())
	if err != nil {
		return nil
	}
	if ms := p.GetTimeoutMs(); ms > 0 { // half of it is for the rest of the call's opening
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond/2)
		defer cancel()
	}
	data, err := l.data.Dial(ctx, ticket)
	if err != nil {
		l.agent.log.Debug("no data connection", "relay", l.addr, "error", err)
		return nil
	}
	return data
}

// choose gives the stream that the caller has chosen, on the data connection or
// as it is.
func choose(st tunnel.Stream, data net.Conn, timeout time.Duration) (tunnel.Stream, error) {
	onData, err := bulk.Chosen(st, timeout)
	if err != nil || !onData {
		bulk.Abort(data)
		return st, err
	}
	return bulk.NewStream(st, data), nil
}

// answer is how a call is accepted or refused once the target is known.
type answer interface {
	// conn is the call's connection.
	conn() duplex
	// via is the session to the relay.
	via() tunnel.Session
	// patience is how long the caller waits for the answer; 0: not said.
	patience() time.Duration
	accept(hops ...*tunnel.Hop) error
	refuse(err error)
}

// acked is a stream that waits for its open-ack.
type acked struct {
	stream  tunnel.Stream
	session tunnel.Session
	timeout time.Duration
}

func (a acked) conn() duplex                     { return a.stream }
func (a acked) via() tunnel.Session              { return a.session }
func (a acked) patience() time.Duration          { return a.timeout }
func (a acked) accept(hops ...*tunnel.Hop) error { return tunnel.WriteAck(a.stream, hops...) }
func (a acked) refuse(err error)                 { tunnel.Refuse(a.stream, err) }

// opened is a TLS flow, whose open-ack was sent before the handshake.
type opened struct {
	flow    *e2e.Flow
	session tunnel.Session
}

func (o opened) conn() duplex                { return o.flow }
func (o opened) via() tunnel.Session         { return o.session }
func (o opened) patience() time.Duration     { return 0 }
func (o opened) accept(...*tunnel.Hop) error { return nil }
func (o opened) refuse(err error)            { o.flow.Reset(tunnel.CodeOf(err)) }

// since makes the hop that an open-ack tells about.
func since(start time.Time, at string) *tunnel.Hop {
	return &tunnel.Hop{At: at, TookUs: uint32(min(time.Since(start).Microseconds(), 1<<32-1))} //nolint:gosec // bounded in the same line
}

// String names the call in a log: who, what for, and the id to search for.
func (c Call) String() string {
	return fmt.Sprintf("%s from %s (%s)", c.Service, c.Caller.Path(), c.RequestID)
}
