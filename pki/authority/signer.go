package authority

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	step "github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/authority/provisioner"
	"github.com/smallstep/certificates/db"
	"go.step.sm/crypto/jose"

	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// audienceHost names the audience of the internal tokens. It is not an address.
const audienceHost = "pki.internal"

// leastLife is what must be left of an intermediate for it to sign at all.
const leastLife = time.Minute

// signer is smallstep's authority for one kind. The key of its only provisioner
// is made when the process starts and never leaves it, so nothing but [signer.sign]
// can make a token that it accepts.
type signer struct {
	kind     identity.Kind
	cert     *x509.Certificate   // of the intermediate
	cross    []*x509.Certificate // of its root, by other roots; part of every chain
	auth     *step.Authority
	token    jose.Signer
	name     string // of the provisioner
	lifetime time.Duration
	links    string // public URL of the revocation lists
}

func newSigner(kind identity.Kind, i *Issuer, b enrol.Bundle, cfg Config) (*signer, error) {
	jwk, err := jose.GenerateJWK("EC", "P-256", jose.ES256, "sig", "", 0)
	if err != nil {
		return nil, err
	}
	public := jwk.Public()
	s := &signer{
		kind: kind, cert: i.Certificate, cross: crossOf(b, i.Root), name: i.Role, lifetime: cfg.Lifetimes.of(kind), links: cfg.PublicURL,
	}
	s.token, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jwk.Key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", jwk.KeyID))
	if err != nil {
		return nil, err
	}
	store, err := newStepDB()
	if err != nil {
		return nil, err
	}
	ssh := false
	s.auth, err = step.NewEmbedded(
		step.WithConfig(&config.Config{
			DNSNames: []string{audienceHost},
			AuthorityConfig: &config.AuthConfig{
				Provisioners: provisioner.List{&provisioner.JWK{
					Type: "JWK", Name: s.name, Key: &public,
					Claims: &provisioner.Claims{
						MinTLSDur:     &provisioner.Duration{Duration: time.Second},
						MaxTLSDur:     &provisioner.Duration{Duration: s.lifetime + time.Minute},
						DefaultTLSDur: &provisioner.Duration{Duration: s.lifetime},
						EnableSSHCA:   &ssh,
					},
				}},
				Backdate: &provisioner.Duration{Duration: cfg.Backdate},
				// A token is used within the call that made it. The check
				// compares whole seconds and would refuse the first ones.
				DisableIssuedAtCheck: true,
			},
		}),
		step.WithX509RootCerts(b.Trusted()...),
		step.WithX509SignerChain([]*x509.Certificate{i.Certificate}, i.Key),
		step.WithX509IntermediateCerts(i.Certificate), // for the name constraints
		step.WithX509Enforcers(provisioner.CertificateEnforcerFunc(s.clamp)),
		step.WithDatabase(store),
		step.WithQuietInit(),
	)
	if err != nil {
		return nil, fmt.Errorf("%s authority: %w", i.Role, err)
	}
	return s, nil
}

// clamp keeps a leaf from outliving its issuer, which smallstep does not check.
func (s *signer) clamp(c *x509.Certificate) error {
	if c.NotAfter.After(s.cert.NotAfter) {
		c.NotAfter = s.cert.NotAfter
	}
	return nil
}

// stepDB is the part of a store that smallstep asks for. Certificates, tokens
// and blocks are kept by this package, in the transaction that the signing is
// part of; a second store would be a second truth.
type stepDB struct{ db.AuthDB }

func newStepDB() (stepDB, error) {
	none, err := db.New(nil) // answers "not implemented" to everything else
	return stepDB{none}, err
}

// UseToken accepts every token: it was made for this one call, with a random id.
func (stepDB) UseToken(string, string) (bool, error) { return true, nil }

// StoreCertificateChain leaves storing to the caller of [signer.sign].
func (stepDB) StoreCertificateChain(provisioner.Interface, ...*x509.Certificate) error { return nil }

// claims of an internal token. The fingerprint (RFC 7800 style, by smallstep)
// binds it to one certificate request.
type claims struct {
	jose.Claims
	SANs    []string `json:"sans"`
	Confirm confirm  `json:"cnf"`
}

type confirm struct {
	Fingerprint string `json:"x5rt#S256"`
}

// sign makes a certificate for the identity, and gives it with its intermediate and
// the cross certificates, by which those verify it who trust an older root. The request must have been checked:
// of it, only the key ends up in the certificate.
func (s *signer) sign(ctx context.Context, id identity.ID, csr *x509.CertificateRequest, extra profile.Extra) ([]*x509.Certificate, error) {
	now := time.Now()
	if left := s.cert.NotAfter.Sub(now); left < leastLife {
		return nil, fmt.Errorf("the %s intermediate has expired or is about to (%s)", s.kind, s.cert.NotAfter)
	}
	token, err := s.mint(id, csr, extra, now)
	if err != nil {
		return nil, err
	}
	options, err := s.auth.Authorize(provisioner.NewContextWithMethod(ctx, provisioner.SignMethod), token)
	if err != nil {
		return nil, fmt.Errorf("authorize: %w", err)
	}
	options = append(options, provisioner.CertificateEnforcerFunc(func(c *x509.Certificate) error {
		shape(c, id, extra)
		crl.Links(c, s.links, s.kind, s.cert)
		return nil
	}))
	notAfter := now.Add(s.lifetime)
	if notAfter.After(s.cert.NotAfter) {
		notAfter = s.cert.NotAfter
	}
	chain, err := s.auth.SignWithContext(ctx, csr, provisioner.SignOptions{NotAfter: provisioner.NewTimeDuration(notAfter)}, options...)
	if err != nil {
		return nil, signError(err)
	}
	return append(chain, unexpired(s.cross, now)...), nil
}

// crossOf gives the certificates of a root by other roots.
func crossOf(b enrol.Bundle, root *x509.Certificate) []*x509.Certificate {
	for _, r := range b.Roots {
		if r.Certificate.Equal(root) {
			return r.Cross
		}
	}
	return nil
}

func unexpired(certs []*x509.Certificate, now time.Time) (out []*x509.Certificate) {
	for _, c := range certs {
		if now.Before(c.NotAfter) {
			out = append(out, c)
		}
	}
	return out
}

// shape makes the certificate follow the profile, whatever the templates and the
// request said.
func shape(c *x509.Certificate, id identity.ID, extra profile.Extra) {
	profile.Apply(c, id, extra)
	c.RawSubject = nil
	oidSAN := []int{2, 5, 29, 17}
	c.ExtraExtensions = slices.DeleteFunc(c.ExtraExtensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSAN) })
}

func (s *signer) mint(id identity.ID, csr *x509.CertificateRequest, extra profile.Extra, now time.Time) (string, error) {
	sum := sha256.Sum256(csr.Raw)
	sans := slices.Concat([]string{id.String()}, id.DNSNames(), extra.DNS)
	for _, ip := range extra.IPs {
		sans = append(sans, ip.String())
	}
	return jose.Signed(s.token).Claims(claims{
		Claims: jose.Claims{
			Issuer: s.name, Subject: id.Name, ID: rand.Text(),
			Audience: jose.Audience{"https://" + audienceHost + "/1.0/sign"},
			IssuedAt: jose.NewNumericDate(now), NotBefore: jose.NewNumericDate(now), Expiry: jose.NewNumericDate(now.Add(time.Minute)),
		},
		SANs:    sans,
		Confirm: confirm{base64.RawURLEncoding.EncodeToString(sum[:])},
	}).CompactSerialize()
}

// signError turns smallstep's refusals, e.g. by name constraints, into ours.
func signError(err error) error {
	var coded interface{ StatusCode() int }
	if errors.As(err, &coded) {
		switch coded.StatusCode() {
		case http.StatusForbidden:
			return fmt.Errorf("%w: %w", enrol.ErrForbidden, err)
		case http.StatusBadRequest:
			return fmt.Errorf("%w: %w", enrol.ErrBadRequest, err)
		}
	}
	return fmt.Errorf("sign: %w", err)
}
