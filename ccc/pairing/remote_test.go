package pairing

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// remoteHook answers what a PBX is asked about remote access, and gives what it was told
// to end.
func (p *pbx) remoteHook(answer wire.RemoteTaken, refuses error) *[]wire.RemoteEnd {
	ends := &[]wire.RemoteEnd{}
	ask := wire.Handle(0, func(_ context.Context, b wire.RemoteBody) (wire.RemoteTaken, error) {
		if b.Request != "signed" {
			return wire.RemoteTaken{}, wire.NewProblem(wire.CodeBadSignature, "")
		}
		return answer, refuses
	})
	end := wire.Handle(0, func(_ context.Context, e wire.RemoteEnd) (wire.Empty, error) {
		*ends = append(*ends, e)
		return wire.Empty{}, nil
	})
	p.set(func() {
		p.hook = func(w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case wire.PathRemote:
				ask.ServeHTTP(w, r)
			case wire.PathRemoteEnd:
				end.ServeHTTP(w, r)
			default:
				return false
			}
			return true
		}
	})
	return ends
}

// TestRemoteIsBrought to the PBX with the serial, and what it says comes back.
func TestRemoteIsBrought(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, q := s.newPBX(serial), s.newPBX(other)
	ends := p.remoteHook(wire.RemoteTaken{State: grant.Pending}, nil)
	q.remoteHook(wire.RemoteTaken{}, wire.NewProblem(wire.CodeRemoteOff, ""))
	if state, err := s.AskRemote(t.Context(), serial, "signed"); state != grant.Pending || err != nil {
		t.Errorf("asked: %s, %v", state, err)
	}
	if _, err := s.AskRemote(t.Context(), other, "signed"); wire.CodeOf(err) != wire.CodeRemoteOff {
		t.Errorf("refused: %v", err)
	}
	end := wire.RemoteEnd{Session: "s-1", Cause: grant.CauseUser}
	if err := s.EndRemote(t.Context(), serial, end); err != nil || !slices.Equal(*ends, []wire.RemoteEnd{end}) {
		t.Errorf("ended: %v, %v", *ends, err)
	}
	p.disconnect()
	if _, err := s.AskRemote(t.Context(), serial, "signed"); !errors.Is(err, errOffline) || !wire.Temporary(err) {
		t.Errorf("offline: %v", err)
	}
	p.set(func() { p.offline = false })
	p.requests()
	s.SetBlocks(blocks.NewList(1, identity.Device(td, serial).Path()))
	_, err := s.AskRemote(t.Context(), serial, "signed")
	if wire.CodeOf(err) != wire.CodeNotPaired || wire.Temporary(s.EndRemote(t.Context(), serial, end)) || len(p.requests()) > 0 {
		t.Errorf("blocked: %v", err)
	}
}

// TestThreatReportAsAnother: whose report it is is known from the connection alone; who
// is no PBX, or is blocked, does not report.
func TestThreatReportAsAnother(t *testing.T) {
	t.Parallel()
	type told struct {
		serial identity.Serial
		wire.RemoteReport
	}
	var all []told
	s := newSite(t, func(s *site) {
		s.cfg.Remote = func(_ context.Context, serial identity.Serial, m wire.RemoteReport) error {
			if m.Session == "unknown" {
				return wire.NewProblem(wire.CodeUnknownSession, "")
			}
			all = append(all, told{serial, m})
			return nil
		}
	})
	m := wire.RemoteReport{Session: "s-1", State: grant.Refused, Cause: grant.CauseAdmin, At: now(), BytesIn: 7}
	p := s.newPBX(serial)
	if err := p.ccc.RemoteReport(t.Context(), m); err != nil || len(all) != 1 || all[0] != (told{serial, m}) {
		t.Errorf("its own: %+v, %v", all, err)
	}
	unknown := m
	unknown.Session = "unknown"
	if err := p.ccc.RemoteReport(t.Context(), unknown); wire.CodeOf(err) != wire.CodeUnknownSession {
		t.Errorf("unknown: %v", err)
	}
	s.SetBlocks(blocks.NewList(1, identity.Device(td, other).Path()))
	for _, id := range []identity.ID{
		identity.Service(td, "ara"), identity.Service(td, "ccc"), identity.Device("elsewhere.test", serial), identity.Device(td, other), {},
	} {
		if err := s.as(id).RemoteReport(t.Context(), m); wire.CodeOf(err) != wire.CodeRefused {
			t.Errorf("%v: %v", id, err)
		}
	}
	if len(all) != 1 {
		t.Errorf("told %+v", all)
	}
	nobody := newSite(t)
	if err := nobody.newPBX(serial).ccc.RemoteReport(t.Context(), m); wire.CodeOf(err) != wire.CodeUnknownSession {
		t.Errorf("where nobody takes reports: %v", err)
	}
}

// TestRemoteEndsWithPairing: whichever side ends it, in the same transaction, and those
// who watch are told. Another system's goes on.
func TestRemoteEndsWithPairing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *site, p *pbx, sys store.System) error{
		"removed": func(s *site, _ *pbx, sys store.System) error { return s.Remove(t.Context(), s.a, sys.ID) },
		"by the PBX": func(_ *site, p *pbx, _ store.System) error {
			p.switchOff(wire.ReasonSwitchedOff)
			return p.sync()
		},
		"blocked": func(s *site, _ *pbx, _ store.System) error {
			s.SetBlocks(blocks.NewList(1, identity.Device(td, serial).Path()))
			_, err := s.block(t.Context())
			return err
		},
	} {
		s := newSite(t)
		p, sys := s.pair(s.a, serial)
		_, kept := s.pair(s.b, other)
		remote := func(a Actor, sys store.System) store.Remote {
			r := store.Remote{
				ID: store.NewID[store.RemoteID](), Tenant: a.Tenant, System: sys.ID, Serial: sys.Serial, Epoch: sys.Epoch, User: a.User, Name: "A",
				Reason: "x", Service: grant.Web, Seconds: 60, State: grant.Pending, Requested: now(), Expires: now().Add(time.Hour),
			}
			s.update(func(tx *store.Tx) error { return tx.CreateRemote(r) })
			return r
		}
		first, second := remote(s.a, sys), remote(s.b, kept)
		s.steps()
		if err := end(s, p, sys); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		state := func(r store.Remote) store.Remote {
			return read(s, func(tx *store.Tx) (store.Remote, error) { return tx.Remote(r.Tenant, r.System, r.ID) })
		}
		if got := state(first); got.State != grant.Ended || got.Cause != grant.CauseDissolved || got.Ended == nil {
			t.Errorf("%s: %+v", name, got)
		}
		if got := state(second); got.State != grant.Pending {
			t.Errorf("%s: another system's is %+v", name, got)
		}
		if told := s.steps(); !slices.Contains(told, "a:remote") || slices.Contains(told, "b:remote") {
			t.Errorf("%s: told %v", name, told)
		}
	}
}
