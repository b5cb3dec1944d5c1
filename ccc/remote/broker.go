package remote

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Broker is the control centre's part in remote access. Make it with [New]; its methods
// may be called from several goroutines. Several processes may have one on the same
// database.
type Broker struct {
	cfg     Config
	gateway *url.URL // nil: none
	log     hclog.Logger
	metrics *metrics
	swept   time.Time // owned by Run
}

// New checks the configuration. Nothing runs before [Broker.Run].
func New(cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Store == nil || cfg.Credentials == nil || cfg.PBX == nil {
		return nil, errors.New("remote: Store, Credentials and PBX are needed")
	}
	cfg = cfg.withDefaults()
	b := &Broker{cfg: cfg, log: cfg.Logger}
	if cfg.ARAURL != "" {
		u, err := url.Parse(cfg.ARAURL)
		if err != nil {
			return nil, err
		}
		b.gateway = u
	}
	var err error
	b.metrics, err = newMetrics(cfg.Metrics)
	return b, err
}

// Actor is the user who asks, as the caller has authenticated him, and as whom he is
// shown.
type Actor struct {
	Tenant store.TenantID
	User   store.UserID
	// Name of the person, Company the legal name of the tenant.
	Name, Company string
	// Factor: he has proven himself with a second factor.
	Factor bool
}

// Wish is what a user asks for.
type Wish struct {
	Reason  string
	Minutes int // 0: Config.DefaultMinutes
	Service grant.Service
	Target  string // with tcp and ssh only
}

// check names all that is wrong, and gives how long it is to be.
func (b *Broker) check(w Wish) (time.Duration, error) {
	var wrong []FieldError
	if strings.TrimSpace(w.Reason) == "" || len(w.Reason) > wire.MaxReason || !printable(w.Reason) {
		wrong = append(wrong, FieldError{"reason", "is not a printable line of 1 to 512 bytes"})
	}
	w.Minutes = cmp.Or(w.Minutes, b.cfg.DefaultMinutes)
	if w.Minutes < 1 || w.Minutes > b.cfg.MaxMinutes {
		wrong = append(wrong, FieldError{"minutes", "is below 1 or above the longest time"})
	}
	if !w.Service.Valid() {
		wrong = append(wrong, FieldError{"service", "is not web, tcp, ssh or tls"})
	} else if w.Service.Targeted() != grant.ValidTarget(w.Target) || !w.Service.Targeted() && w.Target != "" {
		wrong = append(wrong, FieldError{"target", "is not the name of one, which tcp and ssh need and nothing else has"})
	}
	if len(wrong) > 0 {
		return 0, &Error{Code: CodeInvalid, Fields: wrong}
	}
	return time.Duration(w.Minutes) * time.Minute, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// shown makes a name into one that PBX and gateway take.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, " "))
	for len(name) > min(wire.MaxName, grant.MaxName) {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name = strings.TrimSpace(name); name == "" {
		return "?"
	}
	return name
}

// Ask asks a PBX to let the user in, and gives the record: the PBX has the request then,
// and its administrator has to consent. The codes are all but those of grants.
func (b *Broker) Ask(ctx context.Context, a Actor, system store.SystemID, w Wish) (store.Remote, error) {
	life, err := b.check(w)
	if err != nil {
		return store.Remote{}, err
	}
	var r store.Remote
	var p store.Pairing
	err = b.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		now := b.cfg.now()
		if p, err = b.reachable(tx, a, system, now); err != nil {
			return err
		}
		r = store.Remote{
			ID: store.NewID[store.RemoteID](), Tenant: a.Tenant, System: system, Serial: p.Serial, Epoch: p.Epoch, User: a.User, Name: shown(a.Name),
			Reason: w.Reason, Service: w.Service, Target: w.Target, Seconds: int64(life / time.Second),
			State: grant.Requested, Requested: now, Expires: now.Add(b.cfg.Wait),
		}
		return tx.CreateRemote(r)
	})
	if err != nil {
		return store.Remote{}, explain(err)
	}
	b.cfg.Notify(r.Tenant, r.System)
	return b.bring(ctx, r, p.ID, shown(a.Company))
}

// reachable finds the pairing of a system that the user may ask for now.
func (b *Broker) reachable(tx *store.Tx, a Actor, system store.SystemID, now time.Time) (store.Pairing, error) {
	if _, err := tx.System(a.Tenant, system); err != nil {
		return store.Pairing{}, err
	}
	if err := b.permitted(tx, a, system); err != nil {
		return store.Pairing{}, err
	}
	p, err := tx.SystemPairing(a.Tenant, system)
	if errors.Is(err, store.ErrNotFound) {
		return p, &Error{Code: CodeNotPaired}
	}
	if err != nil {
		return p, err
	}
	if b.gateway == nil {
		return p, &Error{Code: CodeUnavailable}
	}
	ofSystem, ofUser, asked, err := tx.CountRemotes(a.Tenant, system, a.User, now.Add(-time.Hour))
	switch {
	case err != nil:
		return p, err
	case ofSystem >= b.cfg.PerSystem || ofUser >= b.cfg.PerUser:
		return p, &Error{Code: CodeQuota, RetryAfter: time.Minute}
	case asked >= b.cfg.PerHour:
		return p, &Error{Code: CodeQuota, RetryAfter: time.Hour / 4}
	case !b.cfg.Online(p.Serial):
		return p, &Error{Code: CodeOffline}
	}
	return p, nil
}

// permitted looks at the user once more: he may have lost the right since the request
// came.
func (b *Broker) permitted(tx *store.Tx, a Actor, system store.SystemID) error {
	if *b.cfg.RequireSecondFactor && !a.Factor {
		return &Error{Code: CodeSecondFactor}
	}
	may, err := access.MayRemote(tx, a.User, a.Tenant, system, b.cfg.now())
	if err == nil && !may {
		err = &Error{Code: CodeForbidden}
	}
	return err
}

// bring brings a request to its PBX, and notes what that says.
func (b *Broker) bring(ctx context.Context, r store.Remote, pairing store.PairingID, company string) (store.Remote, error) {
	// What has begun is finished, so that the record says what became of it.
	ctx = context.WithoutCancel(ctx)
	now := b.cfg.now()
	signed, err := wire.Sign(b.cfg.Credentials, wire.Remote{
		Session: grant.SessionID(r.ID), Pairing: wire.PairingID(pairing), Serial: r.Serial, Epoch: r.Epoch,
		Tenant: company, User: r.Name, Reason: r.Reason, Service: r.Service, Target: r.Target,
		Life: time.Duration(r.Seconds) * time.Second, IssuedAt: now, ExpiresAt: r.Expires, ExpiresIn: b.cfg.Wait.Truncate(time.Second),
	})
	state := grant.State("")
	if err == nil {
		call, cancel := context.WithTimeout(ctx, b.cfg.CallTimeout)
		defer cancel()
		state, err = b.cfg.PBX.AskRemote(call, r.Serial, signed)
	}
	var out error
	if err != nil {
		why := refusalOf(err)
		b.log.Info("a PBX does not take a request for remote access", "session", r.ID, "code", why.code, "error", err)
		b.metrics.asked.WithLabelValues(string(why.code)).Inc()
		out = &Error{Code: why.code}
		if why.code == CodeQuota {
			out = &Error{Code: CodeQuota, RetryAfter: time.Minute}
		}
		err = b.change(ctx, r, func(now store.Remote) store.Remote { return refused(now, why, b.cfg.now()) }, &r)
	} else {
		b.metrics.asked.WithLabelValues("taken").Inc()
		err = b.change(ctx, r, func(now store.Remote) store.Remote { return taken(now, state, b.cfg.now()) }, &r)
	}
	return r, errors.Join(out, err)
}

// change changes a record as it is now, and gives it.
func (b *Broker) change(ctx context.Context, of store.Remote, f func(store.Remote) store.Remote, into *store.Remote) error {
	err := b.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := tx.Remote(of.Tenant, of.System, of.ID)
		if err != nil {
			return err
		}
		*into = f(now)
		return tx.SetRemote(*into)
	})
	if err == nil {
		b.cfg.Notify(of.Tenant, of.System)
	}
	return err
}

// List gives a page of a system's records, the newest first, and the cursor of the next.
func (b *Broker) List(ctx context.Context, tenant store.TenantID, system store.SystemID, p store.Page) (all []store.Remote, next string, err error) {
	err = b.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if _, err := tx.System(tenant, system); err != nil {
			return err
		}
		all, next, err = tx.Remotes(tenant, system, p)
		return err
	})
	return all, next, explain(err)
}

// Show gives one record of a system.
func (b *Broker) Show(ctx context.Context, tenant store.TenantID, system store.SystemID, id store.RemoteID) (r store.Remote, err error) {
	err = b.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		r, err = find(tx, tenant, system, id)
		return err
	})
	return r, explain(err)
}

// find finds a record of a system that is there.
func find(tx *store.Tx, tenant store.TenantID, system store.SystemID, id store.RemoteID) (store.Remote, error) {
	if _, err := tx.System(tenant, system); err != nil {
		return store.Remote{}, err
	}
	return tx.Remote(tenant, system, id)
}

// End ends a session, or takes back the request for one. The PBX is told at once where it
// can be reached, and otherwise when it can. What has ended stays as it is. Who may
// ask for remote access to the system may end it, which the caller looks at.
func (b *Broker) End(ctx context.Context, a Actor, system store.SystemID, id store.RemoteID) error {
	var r store.Remote
	changed := false
	err := b.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		changed = false
		if r, err = find(tx, a.Tenant, system, id); err != nil || r.State.Final() {
			return err
		}
		cause := grant.CauseCCC
		if r.User == a.User {
			cause = grant.CauseUser
		}
		r, changed = ended(r, cause, b.cfg.now()), true
		return tx.SetRemote(r)
	})
	if err != nil {
		return explain(err)
	}
	if changed {
		b.cfg.Notify(r.Tenant, r.System)
		b.tell(context.WithoutCancel(ctx), r)
	}
	return nil
}
