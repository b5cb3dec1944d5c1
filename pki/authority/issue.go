package authority

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Methods by which certificates come about.
const (
	MethodEnrol   = "enrol"   // with a one-time token
	MethodFactory = "factory" // with a factory certificate
	MethodSecret  = "secret"  // with a factory secret
	MethodRenew   = "renew"   // with the present certificate
	MethodRecover = "recover" // with one that has expired
	MethodACME    = "acme"    // the name of a server; see package acmesrv
	MethodIssue   = "issue"   // by the administrator
)

// application is a request for a certificate with the evidence for it.
type application struct {
	id         identity.ID
	csr        *x509.CertificateRequest
	extra      profile.Extra
	method     string
	actor      string
	token      []byte // the key of the token in the store, of an enrolment with one
	lineage    string // empty starts a new one
	generation uint64 // within the lineage
}

// Enrol exchanges a one-time token for a certificate. The token decides the
// identity. Whatever the reason for a refusal, the token stays unused by it. Until the
// token would have expired, a request with the same key gets the same certificate
// again: the answer may have been lost. Errors wrap those of package enrol.
func (a *Authority) Enrol(ctx context.Context, token string, csrPEM []byte) (enrol.Issued, error) {
	csr, err := enrol.ParseRequest(csrPEM)
	if err != nil {
		return enrol.Issued{}, err
	}
	random, err := parseToken(token)
	if err != nil {
		return enrol.Issued{}, err
	}
	app := application{csr: csr, method: MethodEnrol, token: tokenKey(random)}
	return a.decide(ctx, &app, func(tx store.Tx) error {
		record, err := checkToken(tx, app.token, spki(csr.RawSubjectPublicKeyInfo), time.Now().UTC())
		if record.Identity != "" {
			var parseErr error
			if app.id, parseErr = identity.ParsePath(a.cfg.TrustDomain, record.Identity); parseErr != nil {
				return fmt.Errorf("store: %w", parseErr)
			}
			app.actor = record.Actor
		}
		return err
	})
}

// Issue makes a certificate for the identity without further evidence, for the
// administrator. extra adds names, which the intermediate must permit. The key
// stays with whoever made the request.
func (a *Authority) Issue(ctx context.Context, id identity.ID, csrPEM []byte, extra profile.Extra, actor string) (enrol.Issued, error) {
	if err := a.ours(id); err != nil {
		return enrol.Issued{}, err
	}
	csr, err := enrol.ParseRequest(csrPEM)
	if err != nil {
		return enrol.Issued{}, err
	}
	app := application{id: id, csr: csr, extra: extra, method: MethodIssue, actor: actor}
	return a.decide(ctx, &app, func(tx store.Tx) error { return register(tx, id, time.Now().UTC()) })
}

// Credentials makes a key in this process and issues for it, for programs that
// run beside the authority.
func (a *Authority) Credentials(ctx context.Context, id identity.ID, extra profile.Extra, actor string) (*enrol.Credentials, error) {
	key, csr, err := enrol.NewRequest()
	if err != nil {
		return nil, err
	}
	issued, err := a.Issue(ctx, id, csr, extra, actor)
	if err != nil {
		return nil, err
	}
	return issued.Credentials(key, a.Roots())
}

// decide runs the funnel of the package doc. It decides twice: before the signature, so
// that nothing is signed for those who are refused, and in the transaction that stores the
// certificate and the line of the audit log, where it counts. A signature takes longer
// than all the rest; made within the transaction it would have everybody else wait. A
// refusal is noted in the audit log afterwards, if the evidence named somebody.
func (a *Authority) decide(ctx context.Context, app *application, evidence func(store.Tx) error) (enrol.Issued, error) {
	keys := a.keys.Load()
	judge := func(tx store.Tx) error {
		if err := evidence(tx); err != nil {
			return err
		}
		if err := blocked(tx, app.id); err != nil {
			return err
		}
		if err := checkRequest(app.csr, app.id, app.extra); err != nil {
			return err
		}
		return a.admit(tx, app, time.Now().UTC())
	}
	if err := a.db.Rehearse(ctx, judge); err != nil {
		return a.unless(ctx, app, err)
	}
	id := app.id
	chain, err := keys.signers[id.Kind].sign(ctx, id, app.csr, app.extra)
	if err != nil {
		return enrol.Issued{}, a.refuse(ctx, app, err)
	}
	err = a.db.Update(ctx, func(tx store.Tx) error {
		if err := judge(tx); err != nil {
			return err
		}
		if app.id != id {
			return fmt.Errorf("the evidence is for %s now, was for %s", app.id, id)
		}
		return a.record(tx, app, chain[0])
	})
	if err != nil {
		return a.unless(ctx, app, err)
	}
	a.cfg.Logger.Info("certificate issued", "identity", app.id.Path(), "method", app.method,
		"certificate", serialOf(chain[0]), "generation", max(1, app.generation), "expires", chain[0].NotAfter)
	return keys.issued(chain), nil
}

// unless refuses, unless the request is one that was granted before.
func (a *Authority) unless(ctx context.Context, app *application, cause error) (enrol.Issued, error) {
	if r, ok := errors.AsType[repeated](cause); ok {
		return a.repeat(ctx, app, r.certificate)
	}
	return enrol.Issued{}, a.refuse(ctx, app, cause)
}

// record stores the certificate, its place in the lineage and the audit log entry.
func (a *Authority) record(tx store.Tx, app *application, leaf *x509.Certificate) error {
	path := app.id.Path()
	name, generation := app.lineage, app.generation // app stays as it is, as a transaction may run again
	if name == "" {
		if oneLineage(app.id.Kind) {
			if err := retireLineages(tx, path); err != nil {
				return err
			}
		}
		name, generation = serialOf(leaf), 1
		first := lineage{Confirmed: 1, Last: 1}
		if err := put(tx, bucketLineages, lineageKey(path, name), first); err != nil {
			return err
		}
	}
	c := Certificate{
		Serial: serialOf(leaf), Identity: path, Lineage: name, Generation: generation, Method: app.method,
		Issued: time.Now().UTC(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		SPKI: spki(leaf.RawSubjectPublicKeyInfo), Issuer: hex.EncodeToString(leaf.AuthorityKeyId), DER: leaf.Raw,
	}
	if err := addCertificate(tx, c); err != nil {
		return err
	}
	if app.token != nil {
		if err := useToken(tx, app.token, c); err != nil {
			return err
		}
	}
	return audit.Append(tx, audit.Entry{
		Event: audit.EventIssue, Method: app.method, Actor: app.actor, Identity: path,
		Certificate: c.Serial, Generation: c.Generation, SPKI: c.SPKI, Fingerprint: enrol.Fingerprint(leaf),
	})
}

// refuse notes the refusal and gives it back.
func (a *Authority) refuse(ctx context.Context, app *application, cause error) error {
	if app.id.IsZero() {
		return cause
	}
	entry := audit.Entry{
		Event: audit.EventRefuse, Method: app.method, Actor: app.actor, Identity: app.id.Path(),
		Generation: app.generation, SPKI: spki(app.csr.RawSubjectPublicKeyInfo), Reason: cause.Error(),
	}
	if t, ok := errors.AsType[tokenProblem](cause); ok {
		entry.Reason = t.reason
	}
	if s, ok := errors.AsType[secretProblem](cause); ok {
		entry.Reason = s.reason
	}
	if _, ok := errors.AsType[conflictError](cause); ok {
		entry.Event = audit.EventConflict
	}
	if _, ok := errors.AsType[cloneError](cause); ok {
		entry.Event = audit.EventClone
	}
	a.cfg.Logger.Warn("certificate refused", "identity", entry.Identity, "method", app.method, "event", entry.Event, "reason", entry.Reason)
	return errors.Join(cause, a.db.Update(context.WithoutCancel(ctx), func(tx store.Tx) error { return audit.Append(tx, entry) }))
}

func serialOf(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

func lineageKey(path, name string) []byte { return append(within(path), name...) }
