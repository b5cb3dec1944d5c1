package pairing

import (
	"context"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// AskRemote brings a request for remote access, a signed [wire.Remote], to a PBX, and
// gives the state that the session is in then. The error has a [wire.Problem] where the
// PBX has answered; a PBX that is blocked is not called.
func (s *Service) AskRemote(ctx context.Context, serial identity.Serial, request string) (grant.State, error) {
	if s.isBlocked(serial) {
		return "", wire.NewProblem(wire.CodeNotPaired, "")
	}
	return s.pbx(serial).Remote(ctx, request)
}

// EndRemote has a PBX end a remote access, or forget the request for it; the error is as
// in AskRemote.
func (s *Service) EndRemote(ctx context.Context, serial identity.Serial, end wire.RemoteEnd) error {
	if s.isBlocked(serial) {
		return wire.NewProblem(wire.CodeNotPaired, "")
	}
	return s.pbx(serial).RemoteEnd(ctx, end)
}

// pbx is a PBX as the service talks to it.
func (s *Service) pbx(serial identity.Serial) wire.PBX {
	return wire.PBX{HTTP: wire.HTTPClient(s.dial(serial, wire.Service)), MaxBody: int64(s.cfg.MaxBody)}
}

// remoteReport hands on what a PBX says about remote access to it.
func (s *Service) remoteReport(ctx context.Context, m wire.RemoteReport) (wire.Empty, error) {
	serial, err := s.caller(ctx)
	if err != nil {
		return wire.Empty{}, err
	}
	if s.cfg.Remote == nil {
		return wire.Empty{}, wire.NewProblem(wire.CodeUnknownSession, "")
	}
	return wire.Empty{}, s.cfg.Remote(ctx, serial, m)
}

// endRemote ends the remote access that a pairing allowed. The PBX ends it on its side
// when it hears of the pairing's end.
func (w *work) endRemote(p store.Pairing) error {
	ended, err := w.EndRemotes(p.Serial, p.Epoch, grant.CauseDissolved, w.now)
	if err == nil && len(ended) > 0 {
		w.changes = append(w.changes, Change{Tenant: p.Tenant, System: p.System, Kind: ChangeRemote})
	}
	return err
}
