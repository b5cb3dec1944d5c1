package office

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
)

// password of everybody.
const password = "the password of everybody here"

// customer is a tenant with systems.
type customer struct {
	id      store.TenantID
	systems []store.SystemID
	sites   []store.SiteID
	groups  []store.GroupID
}

// town is all tenants.
type town struct {
	dir       string
	reseller  store.TenantID // looks after all customers
	customers []customer     // the largest first
}

func (t *town) largest() customer { return t.customers[0] }

func email(i int) string { return fmt.Sprintf("person-%d@example.test", i) }

// The parts of what systems are called.
var (
	trades = []string{"Praxis", "Kanzlei", "Hotel", "Autohaus", "Bäckerei", "Schule", "Spedition", "Apotheke"}
	names  = []string{"Müller", "Schmidt", "Weber", "Becker", "Hoffmann", "Schäfer", "Koch", "Richter", "Klein", "Wolf", "Schröder", "Neumann"}
	tags   = []string{"vip", "isdn", "sip", "update", "leased", "spare", "nord", "süd", "24h", "dect"}
)

// fill makes the database before the control centre starts: the PBXs are paired there,
// and know nothing of it.
func fill(ctx context.Context, cfg cloud.Config, o Options) (t *town, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	t = &town{dir: cfg.Dir, reseller: store.NewID[store.TenantID]()}
	db, err := store.Open(ctx, cfg.Store())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	key := seal.NewKey()
	keys, err := seal.New(key)
	if err != nil {
		return nil, err
	}
	err = errors.Join(server.WriteSecret(filepath.Join(cfg.Dir, "key"), key), server.WriteSecret(t.passwordFile(), password))
	if err != nil {
		return nil, err
	}
	if err := t.tenants(ctx, db, o); err != nil {
		return nil, err
	}
	accounts, err := account.New(account.Config{Store: db, Keys: keys})
	if err != nil {
		return nil, err
	}
	for i := range o.Users {
		_, err := accounts.Create(ctx, account.NewUser{
			Tenant: t.home(i), Email: email(i), Name: fmt.Sprintf("Person %d", i), Roles: []store.Role{store.RoleOwner},
			Language: store.German, Password: password,
		})
		if err != nil {
			return nil, err
		}
	}
	return t, t.systems(ctx, db, keys, o)
}

func (t *town) passwordFile() string { return filepath.Join(t.dir, "password") }

// home is where somebody is employed: each third at the reseller, each third at the
// largest customer, and the others wherever.
func (t *town) home(i int) store.TenantID {
	switch i % 3 {
	case 0:
		return t.reseller
	case 1:
		return t.largest().id
	default:
		return t.customers[i%len(t.customers)].id
	}
}

func (t *town) tenants(ctx context.Context, db *store.DB, o Options) error {
	now := time.Now()
	tenant := func(tx *store.Tx, id store.TenantID, kind store.Kind, parent store.TenantID, name string) error {
		return tx.CreateTenant(store.Tenant{ID: id, Kind: kind, Parent: parent, Name: name, LegalName: name + " GmbH", Created: now})
	}
	return db.Update(ctx, func(tx *store.Tx) error {
		operator := store.NewID[store.TenantID]()
		t.customers = nil
		err := errors.Join(tenant(tx, operator, store.KindOperator, "", "Operator"), tenant(tx, t.reseller, store.KindReseller, operator, "Reseller"))
		for i := range o.Tenants - 2 {
			c := customer{id: store.NewID[store.TenantID]()}
			t.customers = append(t.customers, c)
			err = errors.Join(err, tenant(tx, c.id, store.KindCustomer, t.reseller, fmt.Sprintf("Customer %03d", i)),
				tx.CreateTenantGrant(store.TenantGrant{
					ID: store.NewID[store.GrantID](), Tenant: c.id, Grantee: t.reseller, Roles: []store.Role{store.RoleAdministrator},
					By: store.NewID[store.UserID](), Created: now,
				}))
		}
		return err
	})
}

// shares gives how many PBXs each customer has: the largest a fifth of all, the others
// ever fewer, none without one.
func shares(pbxs, customers int) []int {
	all := make([]int, customers)
	sum := 0.0
	for i := 1; i < customers; i++ {
		sum += 1 / float64(i)
	}
	left := pbxs
	for i := customers - 1; i > 0; i-- {
		all[i] = max(1, int(float64(pbxs)*0.8/sum/float64(i)))
		left -= all[i]
	}
	all[0] = left
	return all
}

// systems makes the systems of all customers. Serials are dealt out in turn, so that of
// each customer the same part is online.
func (t *town) systems(ctx context.Context, db *store.DB, keys *seal.Keyring, o Options) error {
	left := shares(o.PBXs, len(t.customers))
	const each = 500
	i, at := 0, 0
	for i < o.PBXs {
		err := db.Update(ctx, func(tx *store.Tx) error {
			for range each {
				for i < o.PBXs && left[at] == 0 {
					at = (at + 1) % len(left)
				}
				if i == o.PBXs {
					return nil
				}
				if err := t.customers[at].add(tx, keys, i); err != nil {
					return err
				}
				left[at]--
				i++
				at = (at + 1) % len(left)
			}
			return nil
		})
		if err != nil {
			return err
		}
		o.Progress.Say("%d of %d", i, o.PBXs)
	}
	return nil
}

// places makes a site and a group now and then.
func (c *customer) places(tx *store.Tx, now time.Time) error {
	if len(c.systems)%10 == 0 {
		site := store.Site{ID: store.NewID[store.SiteID](), Tenant: c.id, Name: fmt.Sprintf("Site %d", len(c.sites)), Created: now}
		if err := tx.CreateSite(site); err != nil {
			return err
		}
		c.sites = append(c.sites, site.ID)
	}
	if len(c.systems)%50 == 0 && len(c.groups) < 20 {
		group := store.Group{ID: store.NewID[store.GroupID](), Tenant: c.id, Name: fmt.Sprintf("Group %d", len(c.groups)), Created: now}
		if err := tx.CreateGroup(group); err != nil {
			return err
		}
		c.groups = append(c.groups, group.ID)
	}
	return nil
}

// add adds the i-th system of all to a customer.
func (c *customer) add(tx *store.Tx, keys *seal.Keyring, i int) error {
	now := time.Now().Add(-time.Duration(i%1000) * time.Hour)
	if err := c.places(tx, now); err != nil {
		return err
	}
	n := len(c.systems)
	s := store.System{
		ID: store.NewID[store.SystemID](), Tenant: c.id, Serial: serial(i), Version: 1, State: store.StatePaired,
		Name:    fmt.Sprintf("%s %s %d", trades[i%len(trades)], names[i%len(names)], n),
		Note:    "Contract " + fmt.Sprint(10_000+i),
		Created: now, StateSince: now, Paired: &now, Epoch: 1, LastSeen: &now, Site: c.sites[n%len(c.sites)],
		Tags: []string{tags[i%len(tags)]}, Groups: []store.Group{{ID: c.groups[n%len(c.groups)]}},
	}
	c.systems = append(c.systems, s.ID)
	if err := tx.CreateSystem(s); err != nil {
		return err
	}
	epoch, err := tx.NextEpoch(s.Serial)
	if err != nil {
		return err
	}
	p := store.Pairing{
		ID: store.NewID[store.PairingID](), System: s.ID, Tenant: c.id, Serial: s.Serial, Epoch: epoch,
		Completion: [32]byte{byte(i)}, Offer: store.NewID[store.OfferID](), Paired: now, Proved: &now,
		PBXVersion: math.MaxInt64, // what the PBX says of itself is older, and does not count
	}
	user, err := keys.Seal("user", string(p.ID), []byte("ccc-user"))
	if err != nil {
		return err
	}
	p.UserSealed, p.PasswordSealed = user, user
	if err := errors.Join(tx.CreatePairing(p), tx.SetPaired(c.id, s.ID, epoch, now)); err != nil {
		return err
	}
	for _, kind := range []string{"offered", "received", "paired"} {
		if err := tx.AddEvent(store.Event{Tenant: c.id, System: s.ID, Epoch: epoch, Kind: kind, At: now}); err != nil {
			return err
		}
	}
	return nil
}
