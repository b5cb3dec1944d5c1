package servercert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// acmeSource has certificates from a CA.
type acmeSource struct {
	cfg     Config
	zap     *zap.Logger
	storage *storage
	stored  map[string]*tls.Certificate // what was there at the start
	magic   atomic.Pointer[magic]       // set by run
	demand  demand
}

// magic is certmagic at work.
type magic struct {
	cache *certmagic.Cache
	cfg   *certmagic.Config
	ctx   context.Context // of run
}

func newACME(cfg Config) (*acmeSource, error) {
	if err := privateDir(cfg.Storage); err != nil {
		return nil, err
	}
	s := &acmeSource{
		cfg: cfg, zap: zap.New(core{log: cfg.Logger}), storage: newStorage(cfg.Storage), stored: make(map[string]*tls.Certificate),
		demand: demand{places: make(chan struct{}, orders)},
	}
	m := s.newMagic()
	defer m.cache.Stop()
	for _, name := range cfg.Domains {
		cert, err := m.cfg.CacheManagedCertificate(context.Background(), name)
		switch {
		case err == nil:
			s.stored[name] = &cert.Certificate
		case !errors.Is(err, fs.ErrNotExist):
			cfg.Logger.Warn("the stored certificate is not usable", "name", name, "error", err)
		}
	}
	return s, nil
}

// privateDir makes the directory, or checks that nobody else can read it.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &configs.KeyError{Key: "storage", Problem: err.Error(), Cause: err}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return &configs.KeyError{Key: "storage", Problem: err.Error(), Cause: err}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return &configs.KeyError{
			Key: "storage", Problem: fmt.Sprintf("%s has mode %04o, and keeps private keys", dir, mode),
			Hint: "chmod 0700 it", Cause: configs.ErrExposed,
		}
	}
	return nil
}

// newMagic starts a cache, which must be stopped.
func (s *acmeSource) newMagic() *magic {
	m := &magic{}
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.cfg, nil },
		Logger:           s.zap,
	})
	m.cfg = certmagic.New(m.cache, certmagic.Config{
		Storage:            s.storage,
		RenewalWindowRatio: renewalRatio,
		OCSP:               certmagic.OCSPConfig{DisableStapling: true},
		DisableARI:         s.cfg.Mode == ModeInternal,
		// It writes outside of any lock. New has looked at the directory.
		DisableStorageCheck: true,
		OnEvent:             s.event,
		Logger:              s.zap,
		Issuers:             []certmagic.Issuer{}, // so that it makes none of its own
	})
	m.cfg.Issuers = []certmagic.Issuer{&issuer{cfg: s.cfg, magic: m.cfg, zap: s.zap}}
	return m
}

// event tells about certificates. certmagic's own messages are for debugging.
func (s *acmeSource) event(_ context.Context, event string, data map[string]any) error {
	data = maps.Clone(data)
	if name, _ := data["identifier"].(string); !slices.Contains(s.cfg.Domains, name) {
		data["identifier"] = "on demand" // who is asked for is not for a log
	}
	switch event {
	case "cert_obtained":
		s.cfg.Logger.Info("certificate obtained", "name", data["identifier"], "renewal", data["renewal"])
	case "cert_failed":
		s.cfg.Logger.Error("certificate not obtained; it is tried again", "name", data["identifier"], "renewal", data["renewal"], "error", data["error"])
	}
	return nil
}

func (s *acmeSource) run(ctx context.Context) error {
	if s.cfg.Tunnelled {
		addr, end, err := standIn(ctx)
		if err != nil {
			return err
		}
		defer end()
		s.cfg.Listen = addr
	}
	m := s.newMagic()
	m.ctx = ctx
	defer s.storage.close()
	defer m.cache.Stop()
	s.magic.Store(m)
	if err := m.cfg.ManageAsync(ctx, s.cfg.Domains); err != nil {
		return fmt.Errorf("certificates for %q: %w", s.cfg.Domains, err)
	}
	if s.cfg.Ask != nil {
		s.forget(ctx, m)
	}
	<-ctx.Done()
	return nil
}

// standIn listens where certmagic looks whether somebody does: where nobody does, it would
// answer proofs at a port of its own, and log what comes there. It serves nobody.
func standIn(ctx context.Context) (addr string, end func(), err error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	return ln.Addr().String(), func() { _ = ln.Close(); work.Wait() }, nil
}

func (s *acmeSource) names() []string { return s.cfg.Domains }

func (s *acmeSource) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProtocol {
		m := s.magic.Load()
		if _, active := certmagic.GetACMEChallenge(hello.ServerName); !active || m == nil {
			return nil, noCertificate(hello.ServerName) // certmagic would log what strangers ask for
		}
		return m.cfg.GetCertificate(hello)
	}
	name := nameOf(hello)
	if cert := s.current(name); cert != nil {
		return cert, nil
	}
	return s.get(contextOf(hello), name)
}

// contextOf is the context of a handshake, also of one that a test makes up.
func contextOf(hello *tls.ClientHelloInfo) context.Context {
	if ctx := hello.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

func (s *acmeSource) current(name string) *tls.Certificate {
	if m := s.magic.Load(); m != nil {
		if all := m.cache.AllMatchingCertificates(name); len(all) > 0 {
			newest := slices.MaxFunc(all, func(a, b certmagic.Certificate) int { return a.Leaf.NotAfter.Compare(b.Leaf.NotAfter) })
			return &newest.Certificate
		}
	}
	if cert := s.stored[name]; cert != nil {
		return cert
	}
	_, above, _ := strings.Cut(name, ".")
	return s.stored["*."+above]
}

// issuer is certmagic's ACME issuer with the roots of now.
type issuer struct {
	cfg   Config
	magic *certmagic.Config
	zap   *zap.Logger

	mu    sync.Mutex
	pool  *x509.CertPool        // guarded by mu; that inner trusts
	inner *certmagic.ACMEIssuer // guarded by mu
}

var (
	_ certmagic.Issuer     = (*issuer)(nil)
	_ certmagic.PreChecker = (*issuer)(nil)
)

func (i *issuer) acme() *certmagic.ACMEIssuer {
	i.mu.Lock()
	defer i.mu.Unlock()
	var pool *x509.CertPool // nil: those of the system
	switch {
	case i.cfg.Mode != ModeInternal:
		pool = i.cfg.PublicRoots
	case i.cfg.Roots != nil:
		pool = i.cfg.Roots()
	}
	if i.inner != nil && i.pool == pool {
		return i.inner
	}
	host, portText, _ := net.SplitHostPort(i.cfg.Listen) // checked by New
	port, _ := strconv.Atoi(portText)
	i.pool = pool
	i.inner = certmagic.NewACMEIssuer(i.magic, certmagic.ACMEIssuer{
		CA:                        i.cfg.Directory,
		Email:                     i.cfg.Email,
		Agreed:                    true,
		TrustedRoots:              pool,
		DisableHTTPChallenge:      i.cfg.HTTPPort == 0,
		AltHTTPPort:               i.cfg.HTTPPort,
		ListenHost:                host,
		AltTLSALPNPort:            port,
		DisableDistributedSolvers: true, // one process at a time
		NewAccountFunc:            i.bind,
		DNS01Solver:               i.cfg.DNS01.solver(i.zap),
		HTTPProxy:                 i.proxy(),
		Logger:                    i.zap,
	})
	return i.inner
}

// bind reads the external account binding when an account is about to be opened.
func (i *issuer) bind(ctx context.Context, inner *certmagic.ACMEIssuer, account acme.Account) (acme.Account, error) {
	switch {
	case i.cfg.EABFile != "":
	case i.cfg.EAB != nil:
		id, key, err := i.cfg.EAB(ctx)
		if err != nil {
			return account, fmt.Errorf("key for the account: %w", err)
		}
		inner.ExternalAccount = &acme.EAB{KeyID: id, MACKey: key}
		return account, nil
	default:
		return account, nil
	}
	text, err := i.cfg.EABFile.Read()
	if err != nil {
		return account, fmt.Errorf("eab_file: %w", err)
	}
	eab, err := parseEAB(text)
	if err != nil {
		return account, fmt.Errorf("eab_file %s: %w", i.cfg.EABFile, err)
	}
	inner.ExternalAccount = eab
	return account, nil
}

func parseEAB(text []byte) (*acme.EAB, error) {
	var eab struct {
		KeyID   string `json:"key_id"`
		HMACKey string `json:"hmac_key"`
	}
	if err := json.Unmarshal(text, &eab); err != nil {
		return nil, fmt.Errorf("want JSON with key_id and hmac_key: %w", err)
	}
	if eab.KeyID == "" || eab.HMACKey == "" {
		return nil, errors.New("key_id or hmac_key is missing")
	}
	return &acme.EAB{KeyID: eab.KeyID, MACKey: eab.HMACKey}, nil
}

// proxy decides how a request leaves. The internal CA is asked directly, and is the
// only one that is asked, whatever addresses it or anybody else puts into answers.
func (i *issuer) proxy() func(*http.Request) (*url.URL, error) {
	if i.cfg.Mode != ModeInternal {
		return http.ProxyFromEnvironment
	}
	return func(r *http.Request) (*url.URL, error) {
		if directory, err := url.Parse(i.cfg.Directory); err != nil || r.URL.Host != directory.Host {
			return nil, fmt.Errorf("%s is not the internal CA %s: not contacted", r.URL.Host, i.cfg.Directory)
		}
		return nil, nil //nolint:nilnil // "no proxy", as net/http has it
	}
}

// Issue gets a certificate. The check sets the account's contact, which an issuer
// with new roots does not have yet.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	inner := i.acme()
	if err := inner.PreCheck(ctx, i.cfg.Domains, false); err != nil {
		return nil, err
	}
	return inner.Issue(ctx, csr)
}

// IssuerKey is where certificates and account are stored.
func (i *issuer) IssuerKey() string { return i.acme().IssuerKey() }

// PreCheck runs before an order. It is never interactive, whoever asks.
func (i *issuer) PreCheck(ctx context.Context, names []string, _ bool) error {
	return i.acme().PreCheck(ctx, names, false)
}
