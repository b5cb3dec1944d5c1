package pbx

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// TestConfiguredByTheControlCentre has the control centre's own code configure a PBX that
// it is paired with, through a relay, with the user that the PBX has made for it.
func TestConfiguredByTheControlCentre(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ca := pkitest.New(t, td)
	relay := startRelay(t, ca).Addr()
	c := newCentre(t, ca, relay)
	p, err := New(Config{
		Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first, Hasher: quick, Facts: noFacts,
		Agent: agent.Config{
			Relays: []string{relay}, Transport: agent.TransportTCP, InstanceID: agent.NewInstanceID(), Timing: agent.Timing{BackoffCap: 50 * time.Millisecond},
		},
		Limits: Limits{RetryMin: 50 * time.Millisecond, RetryMax: time.Second, Restart: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "pbx", p.Run)
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for !ok() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("waited in vain until %s; the PBX is %s", what, p.State().Phase())
			}
		}
	}
	until("the tunnel is up", func() bool { return p.Agent().Status().Online() })
	sys, offer, err := c.Save(ctx, c.actor, pairing.NewSystem{Serial: string(serial), Name: "Haus 1"})
	if err != nil {
		t.Fatal(err)
	}
	until("the offer is there", func() bool { return p.State().Phase() == state.PhaseOffered })
	if err := p.Enable(ctx, offer.Token.Reveal(), wire.OfferID(offer.Offer)); err != nil {
		t.Fatal(err)
	}
	until("the login is proved", func() bool { return c.system(sys.ID).State == store.StatePaired })
	var paired store.Pairing
	err = c.db.View(ctx, func(tx *store.Tx) (err error) {
		paired, err = tx.SystemPairing(c.actor.Tenant, sys.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	far := rollout.NewConnector(rollout.DefaultConfig(), c.keys, c.dial.DialContext).Connect(paired)

	keys, err := far.Schema(ctx)
	if err != nil || len(keys) != len(settings.Fields()) {
		t.Fatalf("%d settings: %v", len(keys), err)
	}
	version, values, err := far.Settings(ctx)
	if err != nil || len(values) != len(keys) {
		t.Fatalf("%v: %v", values, err)
	}
	change := rollout.Values{"ntp_server": json.RawMessage(`"ntp.example.net"`), "dns_servers": json.RawMessage(`["192.0.2.1"]`)}
	if restart, err := far.Try(ctx, version, change); err != nil || !restart || p.State().Settings.NTPServer == "ntp.example.net" {
		t.Errorf("tried: %v, %v", restart, err)
	}
	next, err := far.Change(ctx, version, change)
	if err != nil || next == version || p.State().Settings.NTPServer != "ntp.example.net" {
		t.Fatalf("changed to %s: %v", next, err)
	}
	refused := func(what, code string, err error) {
		t.Helper()
		if e, ok := errors.AsType[*pbxweb.Error](err); !ok || e.Code != code {
			t.Errorf("%s: %v, want %q", what, err, code)
		}
	}
	_, err = far.Change(ctx, version, change)
	refused("the old version", "version", err)
	_, err = far.Change(ctx, next, rollout.Values{"contact_days": json.RawMessage(`0`)})
	refused("a value that cannot be", "invalid", err)

	before, err := far.System(ctx)
	if err != nil || before.Boot != p.life.boot() {
		t.Fatalf("%+v, %v", before, err)
	}
	if err := far.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	until("it is back", func() bool {
		s, err := far.System(ctx)
		return err == nil && s.Boot != before.Boot
	})
	if p.restartNeeded() {
		t.Error("the settings wait for another restart")
	}

	set := p.State().Switches
	set.Configuration = false
	if err := p.setSwitches(replace(set)); err != nil {
		t.Fatal(err)
	}
	_, _, err = far.Settings(ctx)
	refused("switched off", "switched_off", err)
	log := p.State().Changes
	if len(log) != 2 || !log[0].Cloud || log[0].Done != state.DoneSettings || log[1].Done != state.DoneRestart {
		t.Errorf("what the PBX shows: %+v", log)
	}
}
