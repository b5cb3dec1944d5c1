package store

import (
	"context"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Act is what somebody does, for the audit log. With one in its context, [DB.Update] puts
// the entry into the log in the transaction of the first change, so that there is no
// change without an entry and no entry without its change. What changes nothing gets its
// entry by [DB.Settle]. Fields that are empty are filled by what the transaction does.
type Act struct {
	// Tenant whose log it belongs to. Empty: that of the user who is found out, or of what
	// is made; [audit.Nowhere] where nobody is.
	Tenant    TenantID
	Actor     string // as in audit.Entry; empty: nobody
	User      UserID
	Home      TenantID
	Right     string
	Operation string
	Resource  string
	System    SystemID // whose serial is noted
	Serial    identity.Serial
	Fields    []string
	// Each has the log tell of each thing that is made, as those of a list: so that who looks
	// for a system finds who has added it. Otherwise the entry names the first alone.
	Each bool
	// Repeats is for [DB.Settle], as in audit.Entry.
	Repeats int64
	// Access gives where the access log has the access; it is called once. Optional.
	Access func() string

	mu   sync.Mutex // guards what follows, and the fields above from the first Update on
	done bool
}

type actKey struct{}

// WithAct has what is changed with the context be told of as the act.
func WithAct(ctx context.Context, act *Act) context.Context {
	return context.WithValue(ctx, actKey{}, act)
}

// Aside is for changes that are no part of what somebody does: counting his attempts,
// keeping answers for repeats. They leave the entry to what comes after them.
func Aside(ctx context.Context) context.Context {
	return context.WithValue(ctx, actKey{}, (*Act)(nil))
}

// ActOf gives the act of a context; nil: there is none.
func ActOf(ctx context.Context) *Act {
	act, _ := ctx.Value(actKey{}).(*Act)
	return act
}

// Identify says who it is that nobody knew until now: he has proven it.
func Identify(ctx context.Context, user User) {
	act := ActOf(ctx)
	if act == nil {
		return
	}
	act.mu.Lock()
	defer act.mu.Unlock()
	if act.Actor == "" {
		act.Actor, act.Tenant, act.User, act.Home, act.Right = "user "+string(user.ID), user.Tenant, user.ID, user.Tenant, "home"
	}
}

// Concern says whom it is about, who need not be who does it.
func Concern(ctx context.Context, user User) {
	act := ActOf(ctx)
	if act == nil {
		return
	}
	act.mu.Lock()
	defer act.mu.Unlock()
	if act.Tenant == "" && user.ID != "" {
		act.Tenant, act.Resource = user.Tenant, "user "+string(user.ID)
	}
}

// Settled says that there is nothing to tell of, as for a repeat of what was done before.
func (a *Act) Settled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = true
}

// Told tells whether the entry is in the log.
func (a *Act) Told() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}

// Settle puts the entry of what has changed nothing into the log, with its outcome. Where
// one says already that it was done, it adds another only where the outcome is not that.
// It does not end with the context.
func (db *DB) Settle(ctx context.Context, act *Act, outcome string) error {
	if act.Told() && outcome == audit.Done {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(Aside(ctx)), settleTimeout)
	defer cancel()
	err := db.alone(ctx, act, func() error {
		return db.Update(ctx, func(tx *Tx) error {
			if err := tx.serialOf(act); err != nil {
				return err
			}
			return tx.append(act.entry(tx, outcome))
		})
	})
	if err == nil {
		act.Settled()
	}
	return err
}

const settleTimeout = 15 * time.Second

// alone lets only one act of a tenant change something at a time where the engine would
// let all but one try again. It is for this process: others are told apart by the engine.
func (db *DB) alone(ctx context.Context, act *Act, f func() error) error {
	if db.cfg.Engine != Postgres {
		return f()
	}
	act.mu.Lock()
	tenant := act.Tenant
	act.mu.Unlock()
	turn := &db.chains[shard(string(tenant), len(db.chains))]
	if err := turn.take(ctx); err != nil {
		return err
	}
	defer turn.pass(false)
	return f()
}

// shard spreads tenants.
func shard(text string, n int) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(text) {
		h = (h ^ uint32(text[i])) * 16777619
	}
	return int(h % uint32(n)) //nolint:gosec // small
}

// entry makes the entry of the act, as far as the transaction knows it.
func (a *Act) entry(tx *Tx, outcome string) audit.Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Access != nil {
		access := a.Access()
		a.Access = func() string { return access }
	}
	e := audit.Entry{
		Tenant: string(a.Tenant), Actor: a.Actor, User: string(a.User), Home: string(a.Home), Right: a.Right, Operation: a.Operation,
		Resource: a.Resource, Serial: string(a.Serial), Outcome: outcome, Fields: a.Fields,
		Repeats: a.Repeats,
	}
	if a.Access != nil {
		e.Access = a.Access()
	}
	if len(tx.made) > 0 {
		m := tx.made[0]
		if e.Resource == "" {
			e.Resource = m.resource
		}
		if e.Serial == "" {
			e.Serial = string(m.serial)
		}
		if e.Tenant == "" {
			e.Tenant = string(m.tenant)
		}
	}
	if e.Tenant == "" {
		e.Tenant = audit.Nowhere
	}
	if e.Actor == "" {
		e.Actor = "nobody"
	}
	return e
}

// audited gives a function that puts what f does into the audit log in its transaction,
// and one to call when that is committed.
func audited(act *Act, f func(*Tx) error) (with func(*Tx) error, committed func()) {
	told := false
	return func(tx *Tx) error {
			told = false
			open := act != nil && !act.Told()
			if open {
				if err := tx.serialOf(act); err != nil {
					return err
				}
			}
			if err := f(tx); err != nil || tx.failed != nil || !tx.changed {
				return err
			}
			told = open
			return tx.tell(act, open)
		}, func() {
			if told {
				act.Settled()
			}
		}
}

// tell adds the entries of a transaction.
func (t *Tx) tell(act *Act, open bool) error {
	tenant := TenantID("")
	if open {
		e := act.entry(t, audit.Done)
		tenant = TenantID(e.Tenant)
		if err := t.append(e); err != nil {
			return err
		}
	} else if act != nil {
		tenant = act.Tenant
	}
	if err := t.tellEach(act, open); err != nil {
		return err
	}
	for _, n := range t.noted {
		if n.Tenant == string(tenant) {
			continue // the act's entry tells of it
		}
		if n.Serial == "" && n.system != "" {
			serial, err := t.systemSerial(TenantID(n.Tenant), n.system)
			if err != nil {
				return err
			}
			n.Serial = string(serial)
		}
		if n.Actor == "" {
			n.Actor = "ccc"
			if n.byPBX && n.Serial != "" {
				n.Actor = "device " + n.Serial
			}
		}
		n.Outcome = audit.Done
		if err := t.append(n.Entry); err != nil {
			return err
		}
	}
	return nil
}

// tellEach adds the entries of what was made, where the act wants one of each; named: the
// first has one.
func (t *Tx) tellEach(act *Act, named bool) error {
	if act == nil || !act.Each {
		return nil
	}
	for i, m := range t.made {
		if i == 0 && named {
			continue
		}
		e := act.entry(t, audit.Done)
		e.Resource, e.Serial = m.resource, string(m.serial)
		if err := t.append(e); err != nil {
			return err
		}
	}
	return nil
}

// noted is something that the log tells of though nobody at the API has done it.
type noted struct {
	audit.Entry
	system SystemID
	byPBX  bool // the PBX has done it
}

// making is a thing that a transaction has made.
type making struct {
	tenant   TenantID
	resource string
	serial   identity.Serial
}

// makes notes what the transaction makes, for the entry of who does it.
func (t *Tx) makes(tenant TenantID, kind, id string, serial identity.Serial) {
	t.made = append(t.made, making{tenant, kind + " " + id, serial})
}

// byPBX are the kinds of events that the PBX has brought about; those of the others
// without a user are the control centre's own.
var byPBX = map[string]bool{"received": true, "declined": true, "completed": true, "paired": true, "dissolved": true}

// noteEvent has the log tell of an event.
func (t *Tx) noteEvent(v Event) {
	n := noted{system: v.System, byPBX: byPBX[v.Kind], Entry: audit.Entry{
		Tenant: string(v.Tenant), Operation: "event." + v.Kind, User: string(v.Actor),
	}}
	if v.System != "" {
		n.Resource = "system " + string(v.System)
	}
	if v.Actor != "" {
		n.Actor = "user " + string(v.Actor)
	}
	t.noted = append(t.noted, n)
}

// noteRemote has the log tell that a remote access has begun or ended.
func (t *Tx) noteRemote(what string, v Remote) {
	t.changed = true
	t.noted = append(t.noted, noted{byPBX: true, Entry: audit.Entry{
		Tenant: string(v.Tenant), Operation: "remote." + what, User: string(v.User), Resource: "remote " + string(v.ID), Serial: string(v.Serial),
	}})
}

// serialOf fills the serial in.
func (t *Tx) serialOf(act *Act) error {
	act.mu.Lock()
	system, tenant, has := act.System, act.Tenant, act.Serial != ""
	act.mu.Unlock()
	if has || system == "" {
		return nil
	}
	serial, err := t.systemSerial(tenant, system)
	act.mu.Lock()
	act.Serial = serial
	act.mu.Unlock()
	return err
}
