package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// secret is a device's factory secret: for a box without a factory certificate, or
// for the person who replaces one. It is good for one enrolment.
type secret struct {
	// PHC is the argon2id hash in the PHC string format.
	PHC string `json:"phc,omitempty"`
	// Used is when a device enrolled with it, Key the SHA-256 in hex of the public key
	// that it had then.
	Used time.Time `json:"used,omitzero"`
	Key  string    `json:"key,omitempty"`
	// Tries counts since Since.
	Tries int       `json:"tries,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// IsZero tells that there is nothing to store.
func (s secret) IsZero() bool { return s == secret{} }

func (s secret) state() string {
	switch {
	case s.PHC == "":
		return "none"
	case s.Used.IsZero():
		return "armed"
	default:
		return "used"
	}
}

// hashing is what RFC 9106 §4 recommends where memory is short (64 MiB, three
// passes would hold up a start of many devices): OWASP's least, 19 MiB in two
// passes. Secrets of [Authority.ResetSecret] have 160 random bits besides.
var hashing = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// hashers bounds how many hashes are computed at a time, each of which takes 19 MiB.
var hashers = make(chan struct{}, 4)

func hashSecret(plain string) (string, error) {
	hashers <- struct{}{}
	defer func() { <-hashers }()
	return argon2id.CreateHash(normal(plain), hashing)
}

func checkSecret(plain, phc string) (bool, error) {
	hashers <- struct{}{}
	defer func() { <-hashers }()
	return argon2id.ComparePasswordAndHash(normal(plain), phc)
}

// normal lets people type a secret in any case, with or without its dashes.
func normal(plain string) string {
	return strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(plain))
}

// noSecret is compared with where a device has none, so that the answer takes as
// long.
const noSecret = "$argon2id$v=19$m=19456,t=2,p=1$bm8gc2VjcmV0IGhlcmUuLg$Ah4RIDF0sz5R2oFhq1NyqL8jPtqvPjNn8v1Qd2VwZ3E" //nolint:gosec // the hash of nothing that is known

// maxSecret bounds a secret, in bytes.
const maxSecret = 200

// secretProblem is why a secret is not taken. To the peer every one of them looks
// alike; the audit log tells which it was.
type secretProblem struct{ reason string }

func (secretProblem) Error() string { return enrol.ErrSecret.Error() }
func (secretProblem) Unwrap() error { return enrol.ErrSecret }

// EnrolSecret issues for a device that knows its factory secret. The secret is used
// up by it, but for a while (authority.limits.secret_retry) the same device, which it
// shows by the same key, may ask again: the power may have gone before it had the
// answer. After a few wrong tries (authority.limits.secret_tries) the serial is
// refused for a while (secret_pause).
func (a *Authority) EnrolSecret(ctx context.Context, serial identity.Serial, plain string, csr *x509.CertificateRequest) (enrol.Issued, error) {
	if len(plain) > maxSecret {
		return enrol.Issued{}, fmt.Errorf("%w: longer than %d bytes", enrol.ErrSecret, maxSecret)
	}
	id := identity.Device(a.cfg.TrustDomain, serial)
	if err := a.ours(id); err != nil {
		return enrol.Issued{}, err
	}
	app := application{id: id, csr: csr, method: MethodSecret, actor: "secret"}
	phc, err := a.trySecret(ctx, serial)
	if err != nil {
		return enrol.Issued{}, err
	}
	known := phc != ""
	if !known {
		phc = noSecret
	}
	// Outside the store: it takes long, and nobody else could use the store.
	right, err := checkSecret(plain, phc)
	if err != nil {
		return enrol.Issued{}, fmt.Errorf("secret of %s: %w", serial, err)
	}
	switch {
	case !known: // nothing is noted: anybody could fill the log
		return enrol.Issued{}, enrol.ErrSecret
	case !right:
		return enrol.Issued{}, a.refuse(ctx, &app, secretProblem{"wrong secret"})
	}
	return a.decide(ctx, &app, func(tx store.Tx) error {
		d, err := listed(tx, serial)
		switch {
		case err != nil:
			return err
		case d.Hash.PHC != phc:
			return secretProblem{"the secret was replaced meanwhile"}
		}
		now, key := time.Now().UTC(), spki(csr.RawSubjectPublicKeyInfo)
		switch since := now.Sub(d.Hash.Used); {
		case d.Hash.Used.IsZero():
			d.Hash.Used, d.Hash.Key = now, key
		case d.Hash.Key != key || since > a.cfg.Limits.SecretRetry || since < 0:
			return secretProblem{"the secret was used at " + d.Hash.Used.Format(time.RFC3339)}
		}
		d.Hash.Tries = 0
		return d.put(tx)
	})
}

// trySecret counts a try and gives the hash to compare with. It is empty where there
// is none: then the caller goes on as if there were.
func (a *Authority) trySecret(ctx context.Context, serial identity.Serial) (phc string, err error) {
	now := time.Now().UTC()
	err = a.db.Update(ctx, func(tx store.Tx) error {
		phc = ""
		d, err := listed(tx, serial)
		if errors.Is(err, enrol.ErrUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		h := &d.Hash
		if h.Since.IsZero() || now.Sub(h.Since) >= a.cfg.Limits.SecretPause || now.Before(h.Since) {
			h.Since, h.Tries = now, 0
		}
		if above(h.Tries, a.cfg.Limits.SecretTries) {
			return fmt.Errorf("%w: %d tries with a secret for %s; the next is possible at %s (authority.limits.secret_tries)", enrol.ErrRateLimit,
				h.Tries, serial, h.Since.Add(a.cfg.Limits.SecretPause).Format(time.RFC3339))
		}
		h.Tries++
		phc = h.PHC
		return d.put(tx)
	})
	return phc, err
}
