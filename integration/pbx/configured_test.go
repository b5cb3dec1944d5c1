package pbx

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// TestConfiguredByTheControlCentre has the control centre's own code configure a PBX that
// it is paired with, through a relay, with the user that the PBX has made for it.
func TestConfiguredByTheControlCentre(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	ctx, p, until := l.ctx, l.pbx, l.until
	far := l.connector.Connect(l.paired)

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
