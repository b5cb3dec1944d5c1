package enrol

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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
// The caller saves the result. Errors wrap [ErrToken], [ErrBlocked] and the
// other reasons, or tell of the connection.
func (c *Client) Enrol(ctx context.Context, token string, want identity.ID) (*Credentials, error) {
	roots, err := c.bootstrap(ctx)
	if err != nil {
		return nil, err
	}
	key, csr, err := NewRequest()
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion:       tls.VersionTLS13,
		RootCAs:          poolOf(roots),
		ServerName:       c.server().DNSName(),
		VerifyConnection: identity.VerifyPeer(identity.Exactly(c.server())),
	}
	var out Issued
	if err := c.post(ctx, cfg, nil, EnrolPath, Request{Token: strings.TrimSpace(token), CSR: string(csr)}, &out); err != nil {
		return nil, err
	}
	creds, err := out.Credentials(key, roots)
	if err != nil {
		return nil, err
	}
	if !want.IsZero() && creds.ID() != want {
		return nil, fmt.Errorf("%w: the token is for %s, want %s", identity.ErrUnexpected, creds.ID(), want)
	}
	return creds, nil
}

// Renew gets a certificate for the same identity with a new key, authenticated
// by the present certificate. The given credentials stay as they are: save the
// result, swap it in, then call [Client.Confirm]. Until then the PKI lets the
// present certificate renew again, so a lost answer costs nothing.
func (c *Client) Renew(ctx context.Context, creds *Credentials) (*Credentials, error) {
	key, csr, err := NewRequest()
	if err != nil {
		return nil, err
	}
	var out Issued
	if err := c.post(ctx, c.mutual(creds), creds, RenewPath, Request{CSR: string(csr)}, &out); err != nil {
		return nil, err
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

// Confirm tells the PKI, by using it, that the new certificate is in use.
func (c *Client) Confirm(ctx context.Context, creds *Credentials) error {
	return c.post(ctx, c.mutual(creds), creds, ConfirmPath, nil, nil)
}

// Bundle asks for a newer trust bundle than the credentials have, and swaps it in;
// see [Credentials.SwapBundle]. It tells whether there was one: save the
// credentials then, and call [Client.Confirm], by which the PKI hears of it.
func (c *Client) Bundle(ctx context.Context, creds *Credentials) (changed bool, err error) {
	var b Bundle
	err = c.do(ctx, c.mutual(creds), http.MethodGet, BundlePath, bundleHeaders(creds), nil, func(answer []byte) (err error) {
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

// bundleHeaders tell the PKI which bundle is trusted here. creds may be nil.
func bundleHeaders(creds *Credentials) http.Header {
	h := http.Header{}
	if creds != nil && creds.BundleVersion() > 0 {
		h.Set(BundleHeader, strconv.FormatUint(creds.BundleVersion(), 10))
		h.Set("If-None-Match", bundleTag(creds.BundleVersion())) // of use with BundlePath only
	}
	return h
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
	if err := c.do(ctx, cfg, http.MethodGet, RootsPath, nil, nil, func(body []byte) (err error) {
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
	if err := c.do(ctx, cfg, http.MethodGet, BundlePath, nil, nil, func(body []byte) (err error) {
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

// post sends JSON and reads JSON. creds are those in cfg, nil if there are none.
func (c *Client) post(ctx context.Context, cfg *tls.Config, creds *Credentials, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.do(ctx, cfg, http.MethodPost, path, bundleHeaders(creds), body, func(answer []byte) error {
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("%w: answer of %s: %w", ErrServer, path, err)
		}
		return nil
	})
}

// errNotModified: the caller has what it asks for.
var errNotModified = errors.New("not modified")

// do makes one call over a connection of its own, because each call may have
// other credentials.
func (c *Client) do(ctx context.Context, cfg *tls.Config, method, path string, header http.Header, body []byte, read func([]byte) error) error {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	maps.Copy(req.Header, header)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, CheckRedirect: noRedirect}).Do(req)
	if err != nil {
		return fmt.Errorf("PKI: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return errNotModified
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return ReadProblem(resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil {
		return fmt.Errorf("PKI: read the answer: %w", err)
	}
	return read(answer)
}

// noRedirect keeps a token from following a redirect to somebody else.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
