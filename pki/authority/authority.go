package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Authority issues and blocks. Make it with [New] and end it with
// [Authority.Close]; it runs nothing in the background. All methods are safe for
// concurrent use.
type Authority struct {
	cfg  Config
	db   store.DB
	log  *audit.Log
	feed *blocks.Publisher
	keys atomic.Pointer[keyring]

	failures failures

	reload  sync.Mutex // held while keys is replaced; taken before the store
	blockMu sync.Mutex // serialises changes of the block list; taken before the store
}

// New loads the keys and opens the store of a state directory that [Init] made.
// Errors wrap [ErrNotInitialised], [ErrKeys], or those of package store.
func New(cfg Config) (*Authority, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	anchors, err := cfg.readRoots()
	if err != nil {
		return nil, err
	}
	issuers, err := cfg.readIssuers(nil)
	if err != nil {
		return nil, err
	}
	a := &Authority{cfg: cfg}
	if a.db, err = OpenStore(context.Background(), cfg); err != nil {
		return nil, err
	}
	a.db = store.Watch(a.db, a.failures.note)
	if err := a.start(context.Background(), anchors, issuers); err != nil {
		return nil, errors.Join(err, a.db.Close())
	}
	return a, nil
}

// start fits what was read from the state directory to what the store has.
func (a *Authority) start(ctx context.Context, anchors []*x509.Certificate, issuers []*Issuer) (err error) {
	if a.log, err = a.cfg.openLog(ctx, a.db); err != nil {
		return err
	}
	for _, prepare := range []func(store.Tx) error{adopt, indexExpiry} {
		if err := a.db.Update(ctx, prepare); err != nil {
			return err
		}
	}
	var k *keyring
	if err := a.db.Update(ctx, func(tx store.Tx) error {
		b, ok, err := readBundle(tx)
		if err != nil {
			return err
		}
		if !ok {
			b = firstBundle(a.cfg.TrustDomain, anchors)
		}
		if k, err = a.cfg.arrange(b, issuers); err != nil || ok {
			return err
		}
		return writeBundle(tx, b, "first start")
	}); err != nil {
		return err
	}
	if err := k.sign(a.cfg); err != nil {
		return err
	}
	a.keys.Store(k)
	list, err := loadBlocks(ctx, a.db)
	if err != nil {
		return err
	}
	a.feed = blocks.NewPublisher(list, 0)
	return nil
}

// Close closes the store.
func (a *Authority) Close() error { return a.db.Close() }

// TrustDomain is the domain that the authority issues for.
func (a *Authority) TrustDomain() identity.TrustDomain { return a.cfg.TrustDomain }

// Roots lists the roots to be trusted, the active one first. Callers must not
// change it.
func (a *Authority) Roots() []*x509.Certificate { return a.keys.Load().roots }

func (a *Authority) serviceID() identity.ID {
	return identity.Service(a.cfg.TrustDomain, enrol.ServiceName)
}

// ours refuses identities that the authority does not issue for.
func (a *Authority) ours(id identity.ID) error {
	if err := id.Validate(); err != nil {
		return fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
	}
	if id.TrustDomain != a.cfg.TrustDomain || a.keys.Load().signers[id.Kind] == nil {
		return fmt.Errorf("%w: nobody issues for %s here", enrol.ErrBadRequest, id)
	}
	return nil
}

// Certificates lists what was issued for the identity, oldest first; for the zero
// ID it lists everything. Certificates that expired long ago are gone.
func (a *Authority) Certificates(ctx context.Context, id identity.ID) (out []Certificate, err error) {
	path := ""
	if !id.IsZero() {
		if err := a.ours(id); err != nil {
			return nil, err
		}
		path = id.Path()
	}
	now := time.Now()
	err = a.db.View(ctx, func(tx store.Tx) error {
		out = nil
		return eachCertificate(tx, path, func(c Certificate) error {
			state, err := stateOf(tx, c, now)
			c.State, c.DER = state, nil
			out = append(out, c)
			return err
		})
	})
	return out, err
}

// eachCertificate calls f for every certificate of the identity path, oldest
// first; for the empty path, for every one.
func eachCertificate(tx store.Tx, path string, f func(Certificate) error) error {
	var prefix []byte
	if path != "" {
		prefix = within(path)
	}
	return tx.Scan(bucketIndex, prefix, nil, func(_, serial []byte) (bool, error) {
		c, ok, err := get[Certificate](tx, bucketCerts, serial)
		if err == nil && ok {
			err = f(c)
		}
		return true, err
	})
}

func stateOf(tx store.Tx, c Certificate, now time.Time) (string, error) {
	l, _, err := get[lineage](tx, bucketLineages, lineageKey(c.Identity, c.Lineage))
	if err != nil {
		return "", err
	}
	block, err := tx.Get(bucketBlocks, []byte(c.Identity))
	if err != nil {
		return "", err
	}
	switch {
	case block != nil:
		return StateBlocked, nil
	case now.After(c.NotAfter):
		return StateExpired, nil
	case !l.mayRenew(c.Generation):
		return StateSuperseded, nil
	case c.Generation > l.Confirmed:
		return StatePending, nil
	default:
		return StateActive, nil
	}
}

// Note adds to the audit log what is decided elsewhere: about the names of servers.
func (a *Authority) Note(ctx context.Context, e audit.Entry) error {
	return a.db.Update(ctx, func(tx store.Tx) error { return audit.Append(tx, e) })
}

// Store is where everything but the keys is kept, for the ACME server.
func (a *Authority) Store() store.DB { return a.db }
