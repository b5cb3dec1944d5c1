package pairing

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// trigger ends the pairing of a PBX with tenant a.
type trigger struct {
	name   string
	reason wire.Reason
	by     wire.Side
	end    func(s *site, p *pbx, sys store.System)
	// want is the database after it; the default is left.
	want string
}

// left is what the database holds of a PBX whose pairing has ended, whatever ended it.
const left = `attempts kind=offer subject=tenant-a at=T
attempts kind=offer to serial subject=tenant-a/0123456789 at=T
events tenant_id=tenant-a epoch=1 kind=completed detail={} at=T
events tenant_id=tenant-a epoch=1 kind=dissolved detail={"by":"BY","reason":"REASON"} at=T
events tenant_id=tenant-a epoch=1 kind=paired detail={} at=T
events tenant_id=tenant-a kind=offered actor=user-a detail={} at=T
events tenant_id=tenant-a kind=received detail={} at=T
offers tenant_id=tenant-a serial=0123456789 created_by=user-a created=T expires=T state=used code=CODE received=T closed=T
ownership serial=0123456789 epoch=1
systems tenant_id=tenant-a serial=0123456789 name=PBX 0123456789 name_key=[15 bytes] search=pbx 0123456789 0123456789  state=left version=1 created=T created_by=user-a state_since=T epoch=1`

// removed is the same where the system was removed, too.
const removed = `attempts kind=offer subject=tenant-a at=T
attempts kind=offer to serial subject=tenant-a/0123456789 at=T
events tenant_id=tenant-a epoch=1 kind=completed detail={} at=T
events tenant_id=tenant-a epoch=1 kind=dissolved actor=user-a detail={"by":"BY","reason":"REASON"} at=T
events tenant_id=tenant-a epoch=1 kind=paired detail={} at=T
events tenant_id=tenant-a epoch=1 kind=removed actor=user-a detail={} at=T
events tenant_id=tenant-a kind=offered actor=user-a detail={} at=T
events tenant_id=tenant-a kind=received detail={} at=T
ownership serial=0123456789 epoch=1`

// replaced is the same where another PBX took its place and is paired now.
const replaced = `attempts kind=offer subject=tenant-a at=T
attempts kind=offer subject=tenant-a at=T
attempts kind=offer to serial subject=tenant-a/0123456789 at=T
attempts kind=offer to serial subject=tenant-a/9876543210 at=T
events tenant_id=tenant-a epoch=1 kind=completed detail={} at=T
events tenant_id=tenant-a epoch=1 kind=completed detail={} at=T
events tenant_id=tenant-a epoch=1 kind=dissolved detail={"by":"BY","reason":"REASON"} at=T
events tenant_id=tenant-a epoch=1 kind=paired detail={} at=T
events tenant_id=tenant-a epoch=1 kind=paired detail={} at=T
events tenant_id=tenant-a epoch=1 kind=replaced detail={"by":"ID"} at=T
events tenant_id=tenant-a epoch=1 kind=replaced detail={"of":"ID"} at=T
events tenant_id=tenant-a kind=offered actor=user-a detail={} at=T
events tenant_id=tenant-a kind=offered actor=user-a detail={} at=T
events tenant_id=tenant-a kind=received detail={} at=T
events tenant_id=tenant-a kind=received detail={} at=T
offers tenant_id=tenant-a serial=0123456789 created_by=user-a created=T expires=T state=used code=CODE received=T closed=T
offers tenant_id=tenant-a serial=9876543210 created_by=user-a created=T expires=T state=used code=CODE received=T closed=T
ownership serial=0123456789 epoch=1
ownership serial=9876543210 epoch=1
pairings tenant_id=tenant-a serial=9876543210 epoch=1 user_sealed=[109 bytes] password_sealed=[137 bytes] completion=[32 bytes] pbx_version=T paired=T proved=T
systems tenant_id=tenant-a serial=0123456789 name=PBX 0123456789 name_key=[15 bytes] search=pbx 0123456789 0123456789  state=left version=1 created=T created_by=user-a state_since=T epoch=1
systems tenant_id=tenant-a serial=9876543210 name=PBX 0123456789 name_key=[15 bytes] search=pbx 0123456789 9876543210  state=paired version=2 created=T created_by=user-a state_since=T paired=T epoch=1 replaces=ID`

// triggers are the six that the protocol knows, and those that a side finds by itself.
var triggers = []trigger{
	{
		name: "switched off in the PBX", reason: wire.ReasonSwitchedOff, by: wire.SidePBX,
		end: func(_ *site, p *pbx, _ store.System) { p.switchOff(wire.ReasonSwitchedOff) },
	},
	{
		name: "factory reset", reason: wire.ReasonFactoryReset, by: wire.SidePBX,
		end: func(_ *site, p *pbx, _ store.System) { p.switchOff(wire.ReasonFactoryReset) },
	},
	{
		name: "the PBX heard nothing for too long", reason: wire.ReasonExpiredContact, by: wire.SidePBX,
		end: func(_ *site, p *pbx, _ store.System) { p.switchOff(wire.ReasonExpiredContact) },
	},
	{
		name: "the PBX lost its memory", reason: wire.ReasonLost, by: wire.SidePBX,
		end: func(_ *site, p *pbx, _ store.System) { p.set(p.forget) },
	},
	{
		name: "removed in the CCC", reason: wire.ReasonRemoved, by: wire.SideCCC, want: removed,
		end: func(s *site, _ *pbx, sys store.System) {
			if err := s.Remove(s.t.Context(), s.a, sys.ID); err != nil {
				s.t.Fatal(err)
			}
		},
	},
	{
		name: "blocked by the PKI", reason: wire.ReasonRevoked, by: wire.SideCCC,
		end: func(s *site, p *pbx, _ store.System) {
			s.SetBlocks(blocks.NewList(1, identity.Device(td, p.serial).Path()))
			if _, err := s.block(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
			p.switchOff(wire.ReasonRevoked) // as its agent is refused
			s.deliver()
			s.SetBlocks(blocks.NewList(2))
		},
	},
	{
		name: "replaced", reason: wire.ReasonReplaced, by: wire.SideCCC, want: replaced,
		end: func(s *site, _ *pbx, sys store.System) {
			q := s.newPBX(other)
			next, offer, err := s.Save(s.t.Context(), s.a, NewSystem{Serial: string(other), Replaces: sys.ID})
			if err != nil {
				s.t.Fatal(err)
			}
			s.deliver()
			if err := q.typed(offer.Token); err != nil {
				s.t.Fatal(err)
			}
			s.deliver()
			if got := s.system(s.a, next.ID); got.State != store.StatePaired || got.Name != sys.Name {
				s.t.Errorf("the new system: %+v", got)
			}
		},
	},
}

// TestEveryTriggerEndsTheSame runs each trigger while the PBX is connected and while it
// is not, and compares all that the database holds then.
func TestEveryTriggerEndsTheSame(t *testing.T) {
	t.Parallel()
	for _, tr := range triggers {
		for _, online := range []bool{true, false} {
			name := tr.name + ", offline"
			if online {
				name = tr.name + ", online"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				engines(t, func(t *testing.T, s *site) { tr.run(t, s, online) })
			})
		}
	}
}

func (tr trigger) run(t *testing.T, s *site, online bool) {
	p, sys := s.pair(s.a, serial)
	pair := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) })
	if err := s.login(t.Context(), pair); err != nil {
		t.Fatalf("positive control: the user of the PBX: %v", err)
	}
	paired := s.dump()
	if !strings.Contains(paired, "\npairings ") || !strings.Contains(paired, "state=paired") {
		t.Fatalf("positive control: %s", paired)
	}
	if !online {
		p.disconnect()
	}
	tr.end(s, p, sys)
	s.deliver()
	s.consistent()
	if err := p.connect(); err != nil {
		t.Fatal(err)
	}
	if err := p.settle(); err != nil {
		t.Fatal(err)
	}
	s.consistent()

	want := tr.want
	if want == "" {
		want = left
	}
	want = strings.NewReplacer("REASON", string(tr.reason), "BY", string(tr.by)).Replace(want)
	if got := normal(s.dump()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if p.pairing != "" || p.user.Reveal() != "" || p.password.Reveal() != "" || p.enabled || len(p.tombstones) > 0 || len(p.offers) > 0 {
		t.Errorf("the PBX keeps something: %+v", p)
	}
	if err := s.login(t.Context(), pair); !errors.Is(err, pbxweb.ErrRefused) {
		t.Errorf("the old user: %v", err)
	}
}

// normal is a dump without what a test is not about, sorted again.
func normal(dump string) string {
	var lines []string
	for line := range strings.SplitSeq(dump, "\n") {
		if strings.HasPrefix(line, "tenants ") || strings.HasPrefix(line, "users ") || strings.HasPrefix(line, "user_grants ") {
			continue
		}
		line = anyID.ReplaceAllString(oneID.ReplaceAllString(line, ""), "ID")
		line = oneCode.ReplaceAllString(line, "code=CODE")
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var (
	oneID   = regexp.MustCompile(` [a-z_]*id=id-[0-9]+`)
	anyID   = regexp.MustCompile(`\bid-[0-9]+\b`)
	oneCode = regexp.MustCompile(`\bcode=[0-9]{3} [0-9]{3}\b`)
)
