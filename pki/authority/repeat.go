package authority

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// repeated is a token that was used already, by the key that asks again: the answer was
// lost on its way, or with the power.
type repeated struct{ certificate string }

func (repeated) Error() string { return enrol.ErrToken.Error() }
func (repeated) Unwrap() error { return enrol.ErrToken }

// repeat answers an enrolment once more, with the certificate of the first time. Nothing
// is issued, so that a token still makes one certificate, however often it is shown. A
// certificate that is blocked by now, or has a successor, is not given out.
func (a *Authority) repeat(ctx context.Context, app *application, serial string) (enrol.Issued, error) {
	if err := checkRequest(app.csr, app.id, profile.Extra{}); err != nil {
		return enrol.Issued{}, a.refuse(ctx, app, err)
	}
	keys := a.keys.Load()
	var chain []*x509.Certificate
	err := a.db.Update(ctx, func(tx store.Tx) error {
		if err := blocked(tx, app.id); err != nil {
			return err
		}
		c, ok, err := get[Certificate](tx, bucketCerts, []byte(serial))
		if err != nil {
			return err
		}
		state := "forgotten"
		if ok {
			if state, err = stateOf(tx, c, time.Now()); err != nil {
				return err
			}
		}
		if state != StateActive {
			return tokenProblem{fmt.Sprintf("token was used; its certificate %s is %s", serial, state)}
		}
		if chain, err = keys.chain(c.DER); err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{
			Event: audit.EventRepeat, Method: app.method, Actor: app.actor, Identity: c.Identity,
			Certificate: c.Serial, Generation: c.Generation, SPKI: c.SPKI, Fingerprint: enrol.Fingerprint(chain[0]),
		})
	})
	if err != nil {
		return enrol.Issued{}, a.refuse(ctx, app, err)
	}
	a.cfg.Logger.Info("certificate given once more", "identity", app.id.Path(), "method", app.method, "certificate", serial)
	return keys.issued(chain), nil
}

// chain puts a leaf together with its intermediate and the cross certificates of the root,
// as it was given out first.
func (k *keyring) chain(der []byte) ([]*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	for _, i := range k.issuers {
		if i.keyID() == hex.EncodeToString(leaf.AuthorityKeyId) {
			chain := []*x509.Certificate{leaf, i.Certificate}
			return append(chain, unexpired(crossOf(k.bundle, i.Root), time.Now())...), nil
		}
	}
	return nil, fmt.Errorf("the issuer of %s is not there any more", serialOf(leaf))
}

// issued is what the holder of the chain's key gets.
func (k *keyring) issued(chain []*x509.Certificate) enrol.Issued {
	return enrol.Issued{
		Chain: string(enrol.EncodeCertificates(chain...)),
		Roots: string(enrol.EncodeCertificates(k.roots...)), Bundle: &k.bundle,
	}
}
