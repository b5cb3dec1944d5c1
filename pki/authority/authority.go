package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"sync"
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
	cfg     Config
	roots   []*x509.Certificate
	signers map[identity.Kind]*signer
	db      store.DB
	feed    *blocks.Publisher

	blockMu sync.Mutex // serialises changes of the block list; taken before the store
}

// New loads the keys and opens the store of a state directory that [Init] made.
// Errors wrap [ErrNotInitialised], [ErrKeys], or those of package store.
func New(cfg Config) (*Authority, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	roots, issuers, err := cfg.loadIssuers()
	if err != nil {
		return nil, err
	}
	a := &Authority{cfg: cfg, roots: roots, signers: make(map[identity.Kind]*signer)}
	for _, i := range issuers {
		if a.signers[i.kind], err = newSigner(i, roots, cfg); err != nil {
			return nil, err
		}
		if left := time.Until(i.cert.NotAfter); left < cfg.Lifetimes.of(i.kind) {
			cfg.Logger.Warn("the intermediate expires before the certificates it signs would; make a new one",
				"kind", i.kind, "expires", i.cert.NotAfter)
		}
	}
	if a.db, err = OpenStore(context.Background(), cfg); err != nil {
		return nil, err
	}
	if err := a.db.Update(context.Background(), adopt); err != nil {
		return nil, errors.Join(err, a.db.Close())
	}
	list, err := loadBlocks(context.Background(), a.db)
	if err != nil {
		return nil, errors.Join(err, a.db.Close())
	}
	a.feed = blocks.NewPublisher(list, 0)
	return a, nil
}

// Close closes the store.
func (a *Authority) Close() error { return a.db.Close() }

// TrustDomain is the domain that the authority issues for.
func (a *Authority) TrustDomain() identity.TrustDomain { return a.cfg.TrustDomain }

// Roots is the trust bundle. Callers must not change it.
func (a *Authority) Roots() []*x509.Certificate { return a.roots }

func (a *Authority) serviceID() identity.ID {
	return identity.Service(a.cfg.TrustDomain, enrol.ServiceName)
}

// ours refuses identities that the authority does not issue for.
func (a *Authority) ours(id identity.ID) error {
	if err := id.Validate(); err != nil {
		return fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
	}
	if id.TrustDomain != a.cfg.TrustDomain || a.signers[id.Kind] == nil {
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

// Expiry tells until when each kind's intermediate is valid.
func (a *Authority) Expiry() map[identity.Kind]time.Time {
	out := make(map[identity.Kind]time.Time, len(a.signers))
	for kind, s := range a.signers {
		out[kind] = s.cert.NotAfter
	}
	return out
}

// Audit gives the entries of the audit log after a sequence number, oldest first.
func (a *Authority) Audit(ctx context.Context, after uint64) iter.Seq2[audit.Entry, error] {
	return audit.Entries(ctx, a.db, after)
}

// Note adds to the audit log what is decided elsewhere: about the names of servers.
func (a *Authority) Note(ctx context.Context, e audit.Entry) error {
	return a.db.Update(ctx, func(tx store.Tx) error { return audit.Append(tx, e) })
}

// ServerIssuer loads the intermediate for the names of servers; see
// [LoadServerIssuer].
func (a *Authority) ServerIssuer() (*ServerIssuer, error) { return LoadServerIssuer(a.cfg) }

// VerifyAudit checks the audit log; see [audit.Verify].
func (a *Authority) VerifyAudit(ctx context.Context) (entries uint64, head string, err error) {
	return audit.Verify(ctx, a.db)
}
