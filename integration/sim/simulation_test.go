package main

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// TestOtherRelay simulates against a relay that the simulator did not start, with
// certificates from a directory.
func TestOtherRelay(t *testing.T) {
	defer goleak.VerifyNone(t)
	const td = identity.DefaultTrustDomain
	dir := t.TempDir()
	id := identity.Relay(td, relayID)
	err := load.WriteDir(dir, load.FromCA(pkitest.New(t, td), 1), 5, id, identity.Service(td, load.CallerName))
	if err != nil {
		t.Fatal(err)
	}
	creds, err := enrol.LoadCredentials(dir + "/" + id.Path())
	if err != nil {
		t.Fatal(err)
	}
	r, err := relay.New(relay.Config{
		Listen: "127.0.0.1:0", Credentials: creds,
		Policy: []relay.Rule{{Caller: "service/" + load.CallerName, Target: "device", Services: []string{load.ServiceWeb}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	o := options{
		devices: 5, transport: load.TransportMix, seed: 1, connecting: 2, patience: 30 * time.Second,
		relay: r.Addr(), relayPID: os.Getpid(), ca: dir, domain: string(td),
		idle: time.Millisecond, load: "closed:users=2", duration: 100 * time.Millisecond, services: []string{load.ServiceWeb},
	}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	report, err := simulate(ctx, o, load.NewProgress(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Failures) > 0 || report.Connect.Online != 5 || report.Load.Calls == 0 || report.Load.Failed > 0 || report.Kill != nil {
		t.Errorf("%+v", report)
	}
	if report.Idle == nil || report.Idle.Heartbeat != 0 || len(report.Memory) == 0 {
		t.Errorf("measured: idle %+v, memory %+v", report.Idle, report.Memory)
	}

	// The relay lets nobody open echo: each call fails, and the report says so.
	o.services = []string{load.ServiceEcho}
	report, err = simulate(ctx, o, load.NewProgress(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Failures) != 1 || report.Load.Errors["AUER-1302"] != int(report.Load.Calls) || report.Load.Calls == 0 {
		t.Errorf("refused calls: %v, %+v", report.Failures, report.Load)
	}
}
