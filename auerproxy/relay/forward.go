package relay

import (
	"context"
	"encoding/hex"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// validateForwards gives every problem with the key that has it.
func validateForwards(services map[string]string) configs.Errors {
	var errs configs.Errors
	for name, addr := range services {
		bad := func(err error) {
			errs = append(errs, &configs.KeyError{Key: "services." + name, Problem: err.Error(), Hint: "as in pki: pki.example.net:8443", Cause: err})
		}
		if err := identity.Service(identity.DefaultTrustDomain, name).Validate(); err != nil {
			bad(err)
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad(err)
		}
	}
	return errs
}

// newForwards makes what stands for the session of each service that the relay dials.
func (r *Relay) newForwards() map[identity.ID]*session {
	all := make(map[identity.ID]*session, len(r.cfg.Services))
	for name := range r.cfg.Services {
		id := identity.Service(r.self.TrustDomain, name)
		all[id] = &session{relay: r, peer: id}
	}
	return all
}

// forward opens a stream to a service that the relay dials. Of what runs there the
// relay sees as much as of every other stream: nothing. It is given only to who asks
// for a raw one, because nobody at the other end speaks our protocol.
func (r *Relay) forward(ctx context.Context, s *session, p *tunnel.Preamble, start time.Time) (*joint, error) {
	if p.GetInner() != tunnelpb.Inner_INNER_RAW {
		return nil, tunnel.Errorf(tunnel.CodePolicyDenied, "%s takes raw streams only", s.peer.Path())
	}
	if s.toPeer.Add(1) > int64(r.streamsTo(s.peer)) {
		s.toPeer.Add(-1)
		return nil, &tunnel.Error{Code: tunnel.CodeTooManyStreams}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.cfg.Services[s.peer.Name])
	if err != nil {
		s.toPeer.Add(-1)
		r.log.Warn("a service does not answer", "service", s.peer.Path(), "error", err)
		return nil, errNotReachable
	}
	return &joint{
		relay: r, target: s, stream: entryConn{socket.New(conn.(*net.TCPConn))},
		record: record{
			Kind: "stream", Target: p.GetTarget(), Service: p.GetService(), Caller: p.GetCaller(),
			Request: hex.EncodeToString(p.GetRequestId()), Start: start,
		},
	}, nil
}
