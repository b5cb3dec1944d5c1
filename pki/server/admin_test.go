package server_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

func TestAdmin(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	ctx, admin := t.Context(), p.admin
	if info, err := os.Stat(admin.Socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}

	tok, err := admin.Token(ctx, device, 10*time.Minute)
	if err != nil || time.Until(tok.Expires) > 10*time.Minute || tok.ID != device {
		t.Fatalf("%+v, %v", tok, err)
	}
	if _, err := p.client().Enrol(ctx, tok.Token, device); err != nil {
		t.Error(err)
	}
	c, err := admin.Issue(ctx, relay, profile.Extra{DNS: []string{"localhost"}, IPs: []net.IP{net.IPv6loopback}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Leaf().VerifyHostname("localhost"), c.Leaf().VerifyHostname("::1")); err != nil {
		t.Error(err)
	}
	if _, err := admin.Issue(ctx, relay, profile.Extra{DNS: []string{"evil.example"}}); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("a foreign name: %v", err)
	}
	if _, err := admin.Token(ctx, identity.Device(td, "123"), 0); !errors.Is(err, enrol.ErrBadRequest) {
		t.Errorf("half a serial: %v", err)
	}

	epoch, err := admin.Block(ctx, device, "stolen")
	if err != nil || epoch == 0 {
		t.Fatalf("epoch %d, %v", epoch, err)
	}
	if list, err := admin.Blocks(ctx); err != nil || len(list) != 1 || list[0].Actor != "test" || list[0].Reason != "stolen" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := admin.Certificates(ctx, device); err != nil || len(list) != 1 || list[0].State != authority.StateBlocked {
		t.Errorf("%+v, %v", list, err)
	}
	if later, err := admin.Unblock(ctx, device, "found"); err != nil || later <= epoch {
		t.Errorf("epoch %d after %d, %v", later, epoch, err)
	}
	if list, err := admin.Certificates(ctx, identity.ID{}); err != nil || len(list) != 3 { // with the PKI's own
		t.Errorf("%d certificates, %v", len(list), err)
	}

	var events []string
	for e, err := range admin.Audit(ctx, 1) { // the first is the PKI's own certificate
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e.Event)
	}
	want := []string{
		audit.EventToken, audit.EventIssue, audit.EventIssue, audit.EventRefuse, audit.EventBlock, audit.EventUnblock,
	}
	if len(events) != len(want) {
		t.Fatalf("audit log: %v, want %v", events, want)
	}
	for i := range want {
		if events[i] != want[i] {
			t.Errorf("audit log: %v, want %v", events, want)
			break
		}
	}
	if v, err := admin.VerifyAudit(ctx); err != nil || v.Entries != uint64(len(want)+1) || v.Head == "" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAdminWithoutAServer(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	p.stop()
	if _, err := p.admin.Blocks(t.Context()); !errors.Is(err, server.ErrNotServed) {
		t.Errorf("%v, want %v", err, server.ErrNotServed)
	}
	// What a crash leaves behind does not keep the next one from starting.
	if err := os.WriteFile(p.admin.Socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	q := start(t, p.dir, authority.Config{}, server.Config{})
	if _, err := q.admin.Blocks(t.Context()); err != nil {
		t.Error(err)
	}
}
