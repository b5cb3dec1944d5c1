package authority

import (
	"cmp"
	"context"
	"crypto/x509"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// report is what an endpoint has told about its trust bundle.
type report struct {
	Version uint64    `json:"version"`
	Time    time.Time `json:"time"`
}

// reportRest is how long a report of a newer version stands against an older one.
// With it, an endpoint that reports nonsense cannot make the store write all the time.
const reportRest = time.Minute

// ReportBundle notes which version of the trust bundle an endpoint has. peer is the
// verified leaf of the connection. A certificate that this authority has not issued
// is refused. A version above the present one counts as the present one.
func (a *Authority) ReportBundle(ctx context.Context, peer *x509.Certificate, version uint64) error {
	id, err := a.identify(peer)
	if err != nil {
		return err
	}
	var key []byte
	now, known := time.Now().UTC(), false
	version = min(version, a.Bundle().Version)
	if err := a.db.View(ctx, func(tx store.Tx) error {
		c, err := present(tx, id, peer)
		if err != nil {
			return err
		}
		key = lineageKey(c.Identity, c.Lineage)
		r, _, err := get[report](tx, bucketReports, key)
		known = r.Version == version || (r.Version > version && now.Sub(r.Time) < reportRest)
		return err
	}); err != nil || known {
		return err // the same as last time costs no write
	}
	return a.db.Update(ctx, func(tx store.Tx) error {
		return put(tx, bucketReports, key, report{Version: version, Time: now})
	})
}

// Rollout tells how far a root, or the newest trust bundle, has come.
type Rollout struct {
	// Version that counts: an endpoint with it or a later one is current.
	Version uint64 `json:"version"`
	// Root is the fingerprint of the root in question, empty for the bundle as a
	// whole.
	Root  string        `json:"root_sha256,omitempty"`
	Kinds []KindRollout `json:"kinds"`
	// Stragglers are endpoints that are not current, by identity; More tells how
	// many are left out.
	Stragglers []Straggler `json:"stragglers"`
	More       int         `json:"more_stragglers,omitempty"`
}

// KindRollout counts the endpoints of a kind that have a certificate in use.
type KindRollout struct {
	Kind      string  `json:"kind"`
	Endpoints int     `json:"endpoints"`
	Current   int     `json:"current"`
	Percent   float64 `json:"percent"`
}

// Straggler is an endpoint with an older bundle.
type Straggler struct {
	Identity string `json:"identity"`
	// Version that it reported last, 0 if it never has.
	Version uint64    `json:"version"`
	Seen    time.Time `json:"seen,omitzero"` // when it reported it
	// Expires is when its last certificate does.
	Expires time.Time `json:"expires"`
}

// Rollout counts who has reported the version of the bundle that first had the
// root, or with an empty fingerprint the newest. Counted are endpoints with a
// certificate in use: not expired, superseded or blocked. An endpoint in several
// instances is as far as the last of them. At most the given number of stragglers
// is listed.
func (a *Authority) Rollout(ctx context.Context, fingerprint string, stragglers int) (out Rollout, err error) {
	b := a.Bundle()
	at := -1
	if fingerprint != "" {
		if at, err = byFingerprint(b, fingerprint); err != nil {
			return out, err
		}
	}
	err = a.db.View(ctx, func(tx store.Tx) error {
		out = Rollout{Version: b.Version, Stragglers: []Straggler{}}
		if at >= 0 {
			root := b.Roots[at].Certificate
			record, _, err := get[rootRecord](tx, bucketTrust, rootKey(root))
			if err != nil {
				return err
			}
			out.Version, out.Root = record.Since, enrol.Fingerprint(root)
		}
		count := counter{out: &out, most: stragglers, kinds: make(map[identity.Kind]*KindRollout)}
		err := a.inUse(tx, func(c Certificate) error {
			r, _, err := get[report](tx, bucketReports, lineageKey(c.Identity, c.Lineage))
			if err == nil {
				err = count.certificate(a.cfg.TrustDomain, c, r)
			}
			return err
		})
		count.end()
		return err
	})
	return out, err
}

// counter adds up certificates that come sorted by identity.
type counter struct {
	out   *Rollout
	most  int // stragglers to list
	kinds map[identity.Kind]*KindRollout

	id    identity.ID
	least Straggler // of the instances so far
}

func (n *counter) certificate(td identity.TrustDomain, c Certificate, r report) error {
	if c.Identity != n.least.Identity {
		n.endpoint()
		var err error
		if n.id, err = identity.ParsePath(td, c.Identity); err != nil {
			return err
		}
		n.least = Straggler{c.Identity, r.Version, r.Time, c.NotAfter}
	}
	if r.Version < n.least.Version {
		n.least.Version, n.least.Seen = r.Version, r.Time
	}
	if c.NotAfter.After(n.least.Expires) {
		n.least.Expires = c.NotAfter
	}
	return nil
}

// endpoint closes the account of one.
func (n *counter) endpoint() {
	if n.id.IsZero() {
		return
	}
	k := n.kinds[n.id.Kind]
	if k == nil {
		k = &KindRollout{Kind: n.id.Kind.String()}
		n.kinds[n.id.Kind] = k
	}
	k.Endpoints++
	switch {
	case n.least.Version >= n.out.Version:
		k.Current++
	case len(n.out.Stragglers) < n.most:
		n.out.Stragglers = append(n.out.Stragglers, n.least)
	default:
		n.out.More++
	}
}

func (n *counter) end() {
	n.endpoint()
	n.out.Kinds = []KindRollout{}
	for _, k := range n.kinds {
		k.Percent = 100 * float64(k.Current) / float64(k.Endpoints)
		n.out.Kinds = append(n.out.Kinds, *k)
	}
	slices.SortFunc(n.out.Kinds, func(x, y KindRollout) int { return cmp.Compare(x.Kind, y.Kind) })
}

// inUse calls f with every certificate that somebody else than the PKI itself may
// be using, sorted by identity.
func (a *Authority) inUse(tx store.Tx, f func(Certificate) error) error {
	self, now := a.serviceID().Path(), time.Now()
	return eachCertificate(tx, "", func(c Certificate) error {
		if c.Identity == self {
			return nil
		}
		state, err := stateOf(tx, c, now)
		if err != nil || (state != StateActive && state != StatePending) {
			return err
		}
		return f(c)
	})
}

// below counts the certificates in use below a root, and tells when the last one
// expires. One whose intermediate is not here any more may be below it.
func (a *Authority) below(ctx context.Context, root *x509.Certificate) (n int, last time.Time, err error) {
	elsewhere := make(map[string]bool) // key identifiers of the intermediates of other roots
	for _, i := range a.keys.Load().issuers {
		elsewhere[i.keyID()] = !i.Root.Equal(root)
	}
	err = a.db.View(ctx, func(tx store.Tx) error {
		n, last = 0, time.Time{}
		return a.inUse(tx, func(c Certificate) error {
			if elsewhere[c.Issuer] {
				return nil
			}
			n++
			if c.NotAfter.After(last) {
				last = c.NotAfter
			}
			return nil
		})
	})
	return n, last, err
}
