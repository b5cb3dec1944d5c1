package pbx

import (
	"context"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// line is the control centre's own code and a PBX that it is paired with, through a relay,
// with the user that the PBX has made for it.
type line struct {
	t         *testing.T
	ctx       context.Context //nolint:containedctx // of the test
	centre    *centre
	pbx       *PBX
	system    store.SystemID
	paired    store.Pairing
	connector *rollout.Connector
}

func newLine(t *testing.T, change ...func(*Config)) *line {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ca := pkitest.New(t, td)
	relay := startRelay(t, ca).Addr()
	l := &line{t: t, ctx: ctx, centre: newCentre(t, ca, relay)}
	cfg := Config{
		Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first, Hasher: quick, Facts: noFacts,
		Agent: agent.Config{
			Relays: []string{relay}, Transport: agent.TransportTCP, InstanceID: agent.NewInstanceID(), Timing: agent.Timing{BackoffCap: 50 * time.Millisecond},
		},
		Limits: Limits{RetryMin: 50 * time.Millisecond, RetryMax: time.Second, Restart: 50 * time.Millisecond},
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if l.pbx, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	background(t, "pbx", l.pbx.Run)
	l.until("the tunnel is up", func() bool { return l.pbx.Agent().Status().Online() })
	sys, offer, err := l.centre.Save(ctx, l.centre.actor, pairing.NewSystem{Serial: string(serial), Name: "Haus 1"})
	if err != nil {
		t.Fatal(err)
	}
	l.system = sys.ID
	l.until("the offer is there", func() bool { return l.pbx.State().Phase() == state.PhaseOffered })
	if err := l.pbx.Enable(ctx, offer.Token.Reveal(), wire.OfferID(offer.Offer)); err != nil {
		t.Fatal(err)
	}
	l.until("the login is proved", func() bool { return l.centre.system(sys.ID).State == store.StatePaired })
	err = l.centre.db.View(ctx, func(tx *store.Tx) (err error) {
		l.paired, err = tx.SystemPairing(l.centre.actor.Tenant, sys.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.connector = rollout.NewConnector(rollout.DefaultConfig(), l.centre.keys, l.centre.dial.DialContext)
	return l
}

func (l *line) until(what string, ok func() bool) {
	l.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			l.t.Fatalf("waited in vain until %s; the PBX is %s", what, l.pbx.State().Phase())
		}
	}
}
