package enrol

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Errors of a [Client] that come from this side of the connection.
var (
	// ErrConfig: the client lacks what the call needs.
	ErrConfig = errors.New("incomplete PKI client")
	// ErrFingerprint: the PKI's root is not the pinned one.
	ErrFingerprint = errors.New("the root has another fingerprint")
)

// DefaultTimeout bounds one call of a [Client].
const DefaultTimeout = 30 * time.Second

// Client talks to the PKI. It holds no connection and no state; its methods are
// safe for concurrent use.
type Client struct {
	// URL is where the PKI listens, e.g. "https://pki.example.com:8443".
	URL string
	// TrustDomain is the domain that the PKI must belong to.
	TrustDomain identity.TrustDomain
	// Roots are trusted for the first contact. Calls that have credentials
	// trust theirs instead.
	Roots []*x509.Certificate
	// RootFingerprint pins the root by the SHA-256 of its DER, in hex, where
	// Roots is empty: the client then fetches the roots and keeps the pinned
	// one only.
	RootFingerprint string
	// FactoryURL is where the PKI takes factory certificates, e.g.
	// "https://pki.example.com:8444".
	FactoryURL string
	// Factory is the device's factory certificate (IEEE 802.1AR IDevID) with its
	// key, for [Client.EnrolFactory]; see [LoadFactory].
	Factory tls.Certificate
	// KeyFile keeps the key of an enrolment with a secret or a token from before the
	// request until the caller, who has saved the credentials, removes the file: after
	// a loss of power in between, the PKI answers the same key once more. Empty: it is
	// not kept.
	KeyFile string
	// RecoveryURL is where the PKI renews certificates that have expired.
	RecoveryURL string
	// Through connects to the PKI at URL in another way, e.g. through the device's
	// tunnel. It is used where the first way fails, or always if OnlyThrough is
	// set. The PKI is verified on it as ever. Nil: there is none.
	Through     func(context.Context) (net.Conn, error)
	OnlyThrough bool
	// Clock verifies the PKI, and learns the time from it. Nil is the machine's
	// own. Give the same to [Credentials.SetClock].
	Clock *Clock
	// Timeout bounds one call. Zero means [DefaultTimeout].
	Timeout time.Duration
	// Logger receives what [Client.RunRenewal] does. Nil means silence.
	Logger hclog.Logger
}

// Fingerprint is the SHA-256 of a certificate's DER in lower-case hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Enrol makes a key, and exchanges the one-time token for a certificate. The
// identity comes from the token; a want that is not the zero ID must equal it.
// The caller saves the result. With the same key (KeyFile) and token, the PKI gives the
// same certificate again. Errors wrap [ErrToken], [ErrBlocked] and the other reasons, or
// tell of the connection.
func (c *Client) Enrol(ctx context.Context, token string, want identity.ID) (*Credentials, error) {
	return c.first(ctx, want, c.KeyFile, func(cfg *tls.Config, csr []byte, out *Issued) error {
		return c.post(ctx, cfg, nil, EnrolPath, Request{Token: strings.TrimSpace(token), CSR: string(csr)}, out)
	})
}

// EnrolSecret is [Client.Enrol] with the device's serial and the secret that it left
// the factory with. The secret is good for one enrolment. Errors wrap [ErrSecret],
// [ErrRateLimit] and the other reasons.
func (c *Client) EnrolSecret(ctx context.Context, serial identity.Serial, secret string) (*Credentials, error) {
	return c.first(ctx, identity.Device(c.TrustDomain, serial), c.KeyFile, func(cfg *tls.Config, csr []byte, out *Issued) error {
		return c.est(ctx, cfg, c.URL, ESTEnrolPath, csr, func(r *http.Request) { r.SetBasicAuth(string(serial), secret) }, out)
	})
}

// EnrolFactory is [Client.Enrol] with the factory certificate, whose serial decides.
// Errors wrap [ErrConflict], where another box has the serial, [ErrUnknown] and the
// other reasons.
func (c *Client) EnrolFactory(ctx context.Context, want identity.ID) (*Credentials, error) {
	if c.FactoryURL == "" || c.Factory.PrivateKey == nil {
		return nil, fmt.Errorf("%w: no factory certificate, or no address for it", ErrConfig)
	}
	return c.first(ctx, want, "", func(cfg *tls.Config, csr []byte, out *Issued) error {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.Factory, nil }
		return c.est(ctx, cfg, c.FactoryURL, ESTEnrolPath, csr, nil, out)
	})
}

// first gets the first certificate, by exchange, from a PKI that is known by its
// roots only. keyFile is as in [Client].KeyFile.
func (c *Client) first(ctx context.Context, want identity.ID, keyFile string, exchange func(cfg *tls.Config, csr []byte, out *Issued) error) (*Credentials, error) {
	roots, err := c.bootstrap(ctx)
	if err != nil {
		return nil, err
	}
	key, csr, err := requestWith(keyFile)
	if err != nil {
		return nil, err
	}
	var out Issued
	if err := exchange(c.anonymous(roots), csr, &out); err != nil {
		return nil, err
	}
	creds, err := out.Credentials(key, roots)
	if err != nil {
		return nil, err
	}
	if !want.IsZero() && creds.ID() != want {
		return nil, fmt.Errorf("%w: issued for %s, want %s", identity.ErrUnexpected, creds.ID(), want)
	}
	return creds, nil
}

// anonymous verifies the PKI and shows no certificate.
func (c *Client) anonymous(roots []*x509.Certificate) *tls.Config {
	for _, r := range roots {
		c.Clock.Saw(r.NotBefore)
	}
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		RootCAs:          poolOf(roots),
		ServerName:       c.server().DNSName(),
		VerifyConnection: identity.VerifyPeer(identity.Exactly(c.server())),
	}
}

// Renew gets a certificate for the same identity with a new key, authenticated
// by the present certificate. The given credentials stay as they are: save the
// result, swap it in, then call [Client.Confirm]. Until then the PKI lets the
// present certificate renew again, so a lost answer costs nothing.
func (c *Client) Renew(ctx context.Context, creds *Credentials) (*Credentials, error) {
	return c.next(creds, func(csr []byte, out *Issued) error {
		return c.post(ctx, c.mutual(creds), creds, RenewPath, Request{CSR: string(csr)}, out)
	})
}

// Recover is [Client.Renew] for a certificate that has expired, at RecoveryURL.
// Errors wrap [ErrExpired] where that was too long ago.
func (c *Client) Recover(ctx context.Context, creds *Credentials) (*Credentials, error) {
	if c.RecoveryURL == "" {
		return nil, fmt.Errorf("%w: no address for expired certificates", ErrConfig)
	}
	return c.next(creds, func(csr []byte, out *Issued) error {
		return c.est(ctx, c.mutual(creds), c.RecoveryURL, ESTReenrolPath, csr, func(r *http.Request) { trusts(r, creds) }, out)
	})
}

// next gets the next certificate, by exchange.
func (c *Client) next(creds *Credentials, exchange func(csr []byte, out *Issued) error) (*Credentials, error) {
	key, csr, err := NewRequest()
	if err != nil {
		return nil, err
	}
	var out Issued
	if err := exchange(csr, &out); err != nil {
		return nil, c.explain(creds.Leaf(), err)
	}
	next, err := out.Credentials(key, creds.Roots())
	if err != nil {
		return nil, err
	}
	if next.ID() != creds.ID() {
		return nil, fmt.Errorf("%w: renewed %s and got %s", identity.ErrUnexpected, creds.ID(), next.ID())
	}
	if next.BundleVersion() < creds.BundleVersion() {
		// The PKI does not know what it knew once: its certificate is good, its
		// list of roots is not.
		return newCredentials(next.Certificate(), creds.Roots(), creds.BundleVersion())
	}
	return next, nil
}

// explain adds to an error of the connection what the certificate has to do with it:
// the PKI refuses one in the handshake without a word.
func (c *Client) explain(leaf *x509.Certificate, err error) error {
	now := c.Clock.Now()
	if _, answered := errors.AsType[*Problem](err); answered || !now.Before(leaf.NotBefore) && now.Before(leaf.NotAfter) {
		return err
	}
	return fmt.Errorf("%w (the certificate is valid from %s to %s; by this clock it is %s)", err,
		leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// Time asks the PKI for the time, which goes to the Clock. It shows no certificate.
func (c *Client) Time(ctx context.Context, roots []*x509.Certificate) error {
	return c.do(ctx, c.anonymous(roots), c.URL, http.MethodGet, healthPath, nil, nil, func([]byte) error { return nil })
}

// Confirm tells the PKI, by using it, that the new certificate is in use.
func (c *Client) Confirm(ctx context.Context, creds *Credentials) error {
	return c.post(ctx, c.mutual(creds), creds, ConfirmPath, nil, nil)
}

// Bundle asks for a newer trust bundle than the credentials have, and swaps it in;
// see [Credentials.SwapBundle]. It tells whether there was one: save the
// credentials then, and call [Client.Confirm], by which the PKI hears of it.
func (c *Client) Bundle(ctx context.Context, creds *Credentials) (changed bool, err error) {
	var b Bundle
	err = c.do(ctx, c.mutual(creds), c.URL, http.MethodGet, BundlePath, nil, func(r *http.Request) { trusts(r, creds) }, func(answer []byte) (err error) {
		b, err = ParseBundle(answer)
		return err
	})
	if errors.Is(err, errNotModified) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if b.TrustDomain != c.TrustDomain {
		return false, fmt.Errorf("%w: it is that of %q, want %q", ErrBundle, b.TrustDomain, c.TrustDomain)
	}
	return creds.SwapBundle(b)
}

// trusts tells the PKI which bundle is trusted here. creds may be nil.
func trusts(r *http.Request, creds *Credentials) {
	if creds != nil && creds.BundleVersion() > 0 {
		r.Header.Set(BundleHeader, strconv.FormatUint(creds.BundleVersion(), 10))
		r.Header.Set("If-None-Match", bundleTag(creds.BundleVersion())) // of use with BundlePath only
	}
}

func (c *Client) server() identity.ID { return identity.Service(c.TrustDomain, ServiceName) }

func (c *Client) mutual(creds *Credentials) *tls.Config {
	return creds.ClientConfig(c.server().DNSName(), identity.Exactly(c.server()))
}

// bootstrap gives the roots for the first contact.
func (c *Client) bootstrap(ctx context.Context) ([]*x509.Certificate, error) {
	if len(c.Roots) > 0 {
		return c.Roots, nil
	}
	want := strings.ToLower(strings.ReplaceAll(c.RootFingerprint, ":", ""))
	if len(want) != 2*sha256.Size {
		return nil, fmt.Errorf("%w: neither roots nor a SHA-256 root fingerprint", ErrConfig)
	}
	// What comes back is checked against the pin; the server is not trusted.
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	var roots []*x509.Certificate
	if err := c.do(ctx, cfg, c.URL, http.MethodGet, RootsPath, nil, nil, func(body []byte) (err error) {
		roots, err = ParseCertificates(body)
		return err
	}); err != nil {
		return nil, err
	}
	if r := pinned(roots, want); r != nil {
		return []*x509.Certificate{r}, nil
	}
	// A root that has been retired since it was pinned still leads to the others,
	// by the cross certificates in the PKI's chain.
	var b Bundle
	if err := c.do(ctx, cfg, c.URL, http.MethodGet, BundlePath, nil, nil, func(body []byte) (err error) {
		b, err = ParseBundle(body)
		return err
	}); err == nil {
		for _, r := range b.Roots {
			if pinned([]*x509.Certificate{r.Certificate}, want) != nil {
				return []*x509.Certificate{r.Certificate}, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: the PKI at %s has %s, want %s", ErrFingerprint, c.URL, Fingerprint(roots[0]), want)
}

// pinned finds the root with the fingerprint, or gives nil.
func pinned(roots []*x509.Certificate, want string) *x509.Certificate {
	for _, r := range roots {
		if subtle.ConstantTimeCompare([]byte(Fingerprint(r)), []byte(want)) == 1 {
			return r
		}
	}
	return nil
}

func poolOf(roots []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	return pool
}
