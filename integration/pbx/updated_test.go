package pbx

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rights "github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// update is a control centre that brings firmware to the PBX of a line.
type update struct {
	*line
	rollouts *rollout.Service
	who      rollout.Actor
}

// newUpdate makes one that knows both keys, of which the PBX knows the first.
func newUpdate(t *testing.T, keys ...ed25519.PrivateKey) *update {
	t.Helper()
	u := &update{line: newLine(t, func(c *Config) { c.FirmwareKeys, c.Limits.Install = makerKeys(), 50*time.Millisecond })}
	file := filepath.Join(t.TempDir(), "keys.pem")
	var text []byte
	for _, k := range keys {
		text = append(text, must(firmware.EncodePublic(k.Public().(ed25519.PublicKey)))...)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	u.rollouts, err = rollout.New(rollout.Config{
		Store: u.centre.db, Keys: u.centre.keys, Connect: u.connector.Connect, Retry: 50 * time.Millisecond,
		FirmwareDir: filepath.Join(t.TempDir(), "firmware"), FirmwareKeys: []string{file},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "rollouts", u.rollouts.Run)
	u.who = rollout.Actor{Tenant: u.centre.actor.Tenant, User: u.centre.actor.User}
	err = u.centre.db.View(t.Context(), func(tx *store.Tx) (err error) {
		u.who.May, err = rights.Load(tx, u.who.User, u.who.Tenant, time.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// bring uploads an image, and rolls it out.
func (u *update) bring(image []byte) store.RolloutID {
	u.t.Helper()
	v, err := u.rollouts.Upload(u.ctx, u.who.User, bytes.NewReader(image))
	if err != nil {
		u.t.Fatal(err)
	}
	r, err := u.rollouts.Create(u.ctx, u.who, rollout.Wish{Name: v.Version, Kind: store.RolloutFirmware, Firmware: v.ID, Systems: []store.SystemID{u.system}})
	if err != nil {
		u.t.Fatal(err)
	}
	u.await(r.ID, store.RolloutReady)
	u.control(r.ID, rollout.Start)
	return r.ID
}

func (u *update) control(id store.RolloutID, a rollout.Action) {
	u.t.Helper()
	if _, err := u.rollouts.Control(u.ctx, u.who, id, a); err != nil {
		u.t.Fatal(err)
	}
}

// await waits for a state of a rollout, and gives what has become of the PBX.
func (u *update) await(id store.RolloutID, state store.RolloutState) (d store.RolloutDevice) {
	u.t.Helper()
	u.until("the rollout is "+string(state), func() bool {
		var r store.Rollout
		err := u.centre.db.View(u.ctx, func(tx *store.Tx) (err error) {
			if r, err = tx.Rollout(u.who.Tenant, id, nil); err == nil {
				d, err = tx.RolloutDeviceOf(u.who.Tenant, id, u.system)
			}
			return err
		})
		return err == nil && r.State == state
	})
	return d
}

// TestUpdatedByTheControlCentre has the control centre's own code bring firmware to a PBX
// through a relay, and take it back.
func TestUpdatedByTheControlCentre(t *testing.T) {
	t.Parallel()
	u := newUpdate(t, maker)
	id := u.bring(imageOf(t, "2.0.0"))
	if d := u.await(id, store.RolloutDone); d.State != store.DeviceDone || u.pbx.firmwareVersion() != "2.0.0" {
		t.Fatalf("%s %s, and %s runs", d.State, d.Code, u.pbx.firmwareVersion())
	}
	u.control(id, rollout.Rollback)
	if d := u.await(id, store.RolloutReverted); d.State != store.DeviceRolledBack || u.pbx.firmwareVersion() != "1.0.0-sim" {
		t.Errorf("back: %s %s, and %s runs", d.State, d.Code, u.pbx.firmwareVersion())
	}
}

// TestForgedFirmware: the control centre is talked into a key that the PBX does not know. The
// PBX looks for itself.
func TestForgedFirmware(t *testing.T) {
	t.Parallel()
	forger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	u := newUpdate(t, maker, forger)
	var forged bytes.Buffer
	m := firmware.Manifest{Model: "COMtrexx Business", Version: "6.6.6", Released: "2026-11-26"}
	if _, err := firmware.Pack(&forged, strings.NewReader("evil"), m, forger); err != nil {
		t.Fatal(err)
	}
	d := u.await(u.bring(forged.Bytes()), store.RolloutHalted)
	if d.State != store.DeviceFailed || d.Code != "signature" || u.pbx.firmwareVersion() != "1.0.0-sim" {
		t.Errorf("%s %s, and %s runs", d.State, d.Code, u.pbx.firmwareVersion())
	}
	if d := u.await(u.bring(imageOf(t, "2.0.0")), store.RolloutDone); u.pbx.firmwareVersion() != "2.0.0" {
		t.Errorf("a good one: %s %s, and %s runs", d.State, d.Code, u.pbx.firmwareVersion())
	}
}
