package e2e_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The intermediates change, and then the root, under a call that goes on from
// before the first step to after the last. One device follows each step; another
// keeps the old bundle and has to connect all the same.
func TestRotationUnderALiveTunnel(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // t.TempDir is too long for unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	w, err := world.Start(ctx, world.Config{Dir: dir, DeviceCount: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.AwaitDevices(ctx, 2))
	const follows, stays = 0, 1
	d, err := w.Dialer(ctx, "ccc")
	must(err)
	call, err := d.DialContext(ctx, w.Device(follows), "echo")
	must(err)
	defer func() { _ = call.Close() }()
	alive := func(step string) {
		t.Helper()
		if err := call.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(call, step[:4]); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		back := make([]byte, 4)
		if _, err := io.ReadFull(call, back); err != nil || string(back) != step[:4] {
			t.Fatalf("%s: %q, %v", step, back, err)
		}
	}
	url, admin := w.PKI()
	client := &enrol.Client{URL: url, TrustDomain: identity.DefaultTrustDomain, Timeout: patience}
	renew := func(c *enrol.Credentials) {
		t.Helper()
		next, err := client.Renew(ctx, c)
		must(err)
		must(c.Adopt(next))
		must(client.Confirm(ctx, c))
	}
	reconnect := func(step string) {
		t.Helper()
		must(w.DeviceCredentials(stays).Save(filepath.Join(dir, "device-"+string(w.Device(stays)), "credentials")))
		must(w.StopDevice(ctx, stays))
		must(w.AwaitDevices(ctx, 1))
		must(w.StartDevice(ctx, stays))
		if err := w.AwaitDevices(ctx, 2); err != nil {
			t.Fatalf("%s: the device with the old bundle does not connect: %v", step, err)
		}
		eventually(ctx, t, step, func() error { return echo(ctx, d, w.Device(stays)) })
	}
	alive("at the start")

	first := authority.Config{StateDir: filepath.Join(dir, "pki", "state"), PlainKeys: true}
	_, _, err = authority.RenewIntermediates(first)
	must(err)
	trust, err := admin.Reload(ctx)
	must(err)
	for _, i := range trust.Issuers {
		if i.Active != (i.Generation == 2) {
			t.Errorf("%s generation %d, active: %v", i.Role, i.Generation, i.Active)
		}
	}
	for _, c := range []*enrol.Credentials{w.RelayCredentials(0), w.DeviceCredentials(follows)} {
		before := c.Leaf()
		renew(c)
		if string(before.AuthorityKeyId) == string(c.Leaf().AuthorityKeyId) {
			t.Errorf("%s was renewed by the old intermediate", c.ID())
		}
	}
	alive("new intermediates")
	reconnect("new intermediates")

	second := authority.Config{StateDir: filepath.Join(dir, "root-2"), PlainKeys: true}
	root, err := authority.MakeRoot(second, "two")
	must(err)
	cross, err := authority.CrossSign(first, root, time.Time{})
	must(err)
	_, err = admin.AddRoot(ctx, enrol.EncodeCertificates(root), enrol.EncodeCertificates(cross))
	must(err)
	for _, c := range []*enrol.Credentials{w.RelayCredentials(0), w.DeviceCredentials(follows)} {
		if changed, err := client.Bundle(ctx, c); err != nil || !changed || len(c.Roots()) != 2 {
			t.Fatalf("%s: new bundle %v, %d roots, %v", c.ID(), changed, len(c.Roots()), err)
		}
		must(client.Confirm(ctx, c))
	}
	requests, err := authority.RequestIntermediates(first)
	must(err)
	for _, r := range requests {
		cert, err := authority.SignRequest(second, r)
		must(err)
		_, err = authority.Install(first, cert)
		must(err)
	}
	_, err = admin.Reload(ctx)
	must(err)
	fingerprint := enrol.Fingerprint(root)
	status, err := admin.Rollout(ctx, fingerprint, 10)
	must(err)
	for _, k := range status.Kinds {
		if k.Kind == "device" && (k.Current != 1 || k.Endpoints != 2) || k.Kind == "relay" && k.Current != 1 {
			t.Errorf("rollout: %+v", k)
		}
	}
	if _, err := admin.ActivateRoot(ctx, fingerprint, false); !errors.Is(err, enrol.ErrUnsafe) {
		t.Fatalf("activated with half of the devices: %v", err)
	}
	_, err = admin.ActivateRoot(ctx, fingerprint, true)
	must(err)
	alive("new root")
	renew(w.RelayCredentials(0))
	if issuer := w.RelayCredentials(0).Certificate().Certificate; len(issuer) != 3 {
		t.Errorf("the relay's chain has %d certificates, want the cross certificate too", len(issuer))
	}
	alive("relay below the new root")
	reconnect("relay below the new root")
	renew(w.DeviceCredentials(follows))
	alive("device below the new root")

	old := enrol.Fingerprint(trust.Bundle.Roots[0].Certificate)
	if _, err := admin.RetireRoot(ctx, old, false); !errors.Is(err, enrol.ErrUnsafe) {
		t.Fatalf("retired with certificates in use: %v", err)
	}
	renew(w.DeviceCredentials(stays)) // it learns of the new root by its renewal
	if got := w.DeviceCredentials(stays).Roots(); len(got) != 2 {
		t.Errorf("%d roots after the renewal", len(got))
	}
	_, err = admin.RetireRoot(ctx, old, true) // the callers of this test still have theirs
	must(err)
	for _, c := range []*enrol.Credentials{w.RelayCredentials(0), w.DeviceCredentials(follows), w.DeviceCredentials(stays)} {
		if changed, err := client.Bundle(ctx, c); err != nil || !changed || len(c.Roots()) != 1 {
			t.Fatalf("%s: %v, %d roots, %v", c.ID(), changed, len(c.Roots()), err)
		}
	}
	alive("old root retired")
	must(w.DeviceCredentials(stays).Save(filepath.Join(dir, "device-"+string(w.Device(stays)), "credentials")))
	must(w.StopDevice(ctx, stays))
	must(w.AwaitDevices(ctx, 1))
	must(w.StartDevice(ctx, stays))
	must(w.AwaitDevices(ctx, 2))
	alive("at the end")
}
