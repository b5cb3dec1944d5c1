package pbx

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// openRemote makes the part that decides about remote access.
func (p *PBX) openRemote() (err error) {
	p.remote, err = remote.Open(remote.Config{
		Disk: p.disk, Installed: p.store.View().Created, Policy: p.remotePolicy, Limits: p.cfg.Remote, OnChange: p.remoteChanged, Logger: p.log,
	})
	if err != nil {
		return err
	}
	p.gateway = ara.Handler(p.remote.Gateway(), sessionOf)
	return nil
}

// Remote is what decides about remote access. Who consents with it has made sure that it
// is the administrator who wants that.
func (p *PBX) Remote() *remote.Machine { return p.remote }

func (p *PBX) remotePolicy() remote.Policy {
	s := p.store.View()
	pol := remote.Policy{
		On: s.Switches.Remote, Sealed: p.tls != nil, Always: s.Remote.Consent == state.ConsentAlways, Life: time.Duration(s.Remote.Minutes) * time.Minute,
		Recording: s.Remote.Recording,
		Targets:   append([]remote.Target{{Name: remote.OwnWeb, Service: grant.TCP}}, s.Remote.Targets...),
	}
	if s.Pairing != nil {
		pol.Pairing, pol.Epoch = s.Pairing.ID, s.Pairing.Epoch
	}
	return pol
}

// remoteChanged has a report sent.
func (p *PBX) remoteChanged() {
	p.wake(false)
	if p.cfg.OnChange != nil {
		p.cfg.OnChange()
	}
}

// remoteProblems are what refuses a remote access, in the control centre's words.
var remoteProblems = []struct {
	err  error
	code wire.Code
}{
	{remote.ErrOff, wire.CodeRemoteOff},
	{remote.ErrPairing, wire.CodeNotPaired},
	{remote.ErrTarget, wire.CodeNoTarget},
	{remote.ErrTooMany, wire.CodeTooMany},
	{remote.ErrExpired, wire.CodeExpired},
}

// takeRemote keeps a request for remote access. It lets nobody in, unless the
// administrator has said so for all.
func (p *PBX) takeRemote(_ context.Context, body wire.RemoteBody) (wire.RemoteTaken, error) {
	var r wire.Remote
	if err := wire.Verify(p.cfg.Credentials, p.now(), p.cloudID(), body.Request, &r); err != nil {
		return wire.RemoteTaken{}, wire.NewProblem(wire.CodeBadSignature, err.Error())
	}
	if r.Serial != p.Serial() {
		return wire.RemoteTaken{}, wire.NewProblem(wire.CodeNotForUs, "")
	}
	st, err := p.remote.Take(r)
	if err != nil {
		for _, k := range remoteProblems {
			if errors.Is(err, k.err) {
				return wire.RemoteTaken{}, wire.NewProblem(k.code, "")
			}
		}
		return wire.RemoteTaken{}, err
	}
	p.log.Info("remote access is asked for", "session", r.Session, "tenant", r.Tenant, "state", st)
	return wire.RemoteTaken{State: st}, nil
}

func (p *PBX) takeRemoteEnd(_ context.Context, e wire.RemoteEnd) (wire.Empty, error) {
	err := p.remote.End(e.Session, e.Cause)
	if errors.Is(err, remote.ErrUnknown) {
		err = nil // there is nothing to end
	}
	return wire.Empty{}, err
}

// tellRemote sends the reports about remote access, in order.
func (p *PBX) tellRemote(ctx context.Context) error {
	for {
		q, ok := p.remote.NextReport()
		if !ok {
			return nil
		}
		err := p.call(ctx, func(ctx context.Context) error { return p.cloud.RemoteReport(ctx, q.Report) })
		if wire.Temporary(err) {
			return err
		}
		if err != nil {
			p.log.Debug("the control centre does not know the remote access", "session", q.Report.Session, "error", err)
		}
		p.remote.Told(q.Seq)
	}
}

// araID is who the gateway has to be.
func (p *PBX) araID() identity.ID { return identity.Service(p.self.TrustDomain, remoteName) }

// sessionOf gives the session that a call of the gateway is for. The service takes no
// other callers.
func sessionOf(r *http.Request) (grant.SessionID, bool) {
	purpose, _ := r.Context().Value(purposeKey{}).(string)
	return grant.ParsePurpose(purpose)
}

// purposeKey is where a request's context has the purpose of the call.
type purposeKey struct{}

// admitted is a call of the gateway that was let in.
type admitted struct {
	net.Conn // counted, see remote.Stream.Conn
	call     *agent.Conn
	stream   *remote.Stream
}

// admit lets a call of the gateway in, or gives nil. It is cut when its session ends.
func (p *PBX) admit(c *agent.Conn, service grant.Service) *admitted {
	if !c.Call().Verified || c.Caller() != p.araID() {
		c.Reset(tunnel.CodeRefusedByDevice)
		return nil
	}
	s, err := p.remote.Admit(c.Call().Purpose, service, func() { c.Reset(tunnel.CodeRefusedByDevice) })
	if err != nil {
		code := tunnel.CodeRefusedByDevice
		if errors.Is(err, remote.ErrTooMany) {
			code = tunnel.CodeTooManyStreams
		}
		c.Reset(code)
		return nil
	}
	return &admitted{s.Conn(c), c, s}
}

// webListener lets the gateway in as long as the administrator wants it.
type webListener struct {
	net.Listener
	pbx *PBX
}

// Accept implements [net.Listener].
func (l webListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		call, ok := c.(*agent.Conn)
		if !ok || call.Caller() != l.pbx.araID() {
			return c, nil
		}
		if a := l.pbx.admit(call, grant.Web); a != nil {
			return a, nil
		}
	}
}

// forward takes the calls of a service to targets until the listener ends, and returns
// when all have ended. Those to the PBX's own pages go to own.
func (p *PBX) forward(ctx context.Context, ln net.Listener, service grant.Service, own *handed) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		call, ok := c.(*agent.Conn)
		if !ok {
			_ = c.Close()
			continue
		}
		a := p.admit(call, service)
		if a == nil {
			continue
		}
		if a.stream.Target.Name == remote.OwnWeb {
			own.hand(ctx, a)
			continue
		}
		calls.Go(func() { p.carry(ctx, a) })
	}
}

// carry moves bytes between a call and its target until both directions have ended, or
// the call is cut.
func (p *PBX) carry(ctx context.Context, a *admitted) {
	defer a.Close()
	there, err := p.cfg.DialTarget(ctx, a.stream.Target)
	if err != nil {
		p.log.Info("target of remote access", "target", a.stream.Target.Name, "error", err)
		a.call.Reset(tunnel.CodeTargetUnreachable)
		return
	}
	defer there.Close()
	defer context.AfterFunc(ctx, func() { a.call.Reset(tunnel.CodeShutdown); abort(there) })()
	var back sync.WaitGroup
	back.Go(func() { a.pipe(a.Conn, there) })
	a.pipe(there, a.Conn)
	back.Wait()
}

// pipe moves what comes from the call to its target, or back, and says when there is no
// more. A side that fails ends both, so that what was cut looks complete to none.
func (a *admitted) pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err == nil && ok && half.CloseWrite() == nil {
		return
	}
	a.call.Reset(tunnel.CodeReset) // it may have failed already
	abort(to)
	abort(from)
}

// abort closes a connection without an end, where it can.
func abort(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0) // or there is a FIN
	}
	_ = c.Close()
}

// handed is a listener for connections that others have accepted.
type handed struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHanded() *handed { return &handed{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (h *handed) hand(ctx context.Context, c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		_ = c.Close()
	case <-ctx.Done():
		_ = c.Close()
	}
}

// Accept implements [net.Listener].
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements [net.Listener].
func (h *handed) Addr() net.Addr { return ownAddr{} }

type ownAddr struct{}

func (ownAddr) Network() string { return "auerproxy" }
func (ownAddr) String() string  { return remote.OwnWeb }
