package servercert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// fileSource has its one certificate from files.
type fileSource struct {
	cfg    Config
	cert   atomic.Pointer[tls.Certificate]
	stamps [2]stamp // owned by New, then by run
}

// stamp tells whether a file has changed.
type stamp struct {
	time time.Time
	size int64
}

func newFiles(cfg Config) (*fileSource, error) {
	s := &fileSource{cfg: cfg}
	stamps, err := s.look()
	if err == nil {
		err = s.load()
	}
	s.stamps = stamps
	return s, err
}

func (s *fileSource) look() (all [2]stamp, err error) {
	for i, path := range []string{s.cfg.CertFile, string(s.cfg.KeyFile)} {
		info, err := os.Stat(path)
		if err != nil {
			return all, &configs.KeyError{Key: [...]string{"cert_file", "key_file"}[i], Problem: err.Error(), Cause: err}
		}
		all[i] = stamp{info.ModTime(), info.Size()}
	}
	return all, nil
}

// load takes certificate and key over, both or none.
func (s *fileSource) load() error {
	chain, err := os.ReadFile(s.cfg.CertFile)
	if err != nil {
		return &configs.KeyError{Key: "cert_file", Problem: err.Error(), Cause: err}
	}
	key, err := s.cfg.KeyFile.Read()
	if err != nil {
		return &configs.KeyError{Key: "key_file", Problem: err.Error(), Cause: err}
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err == nil && len(cert.Leaf.DNSNames)+len(cert.Leaf.IPAddresses) == 0 {
		err = errors.New("the certificate has no names")
	}
	if err != nil {
		return &configs.KeyError{Key: "cert_file", Problem: fmt.Sprintf("%s with %s: %v", s.cfg.CertFile, s.cfg.KeyFile, err), Cause: err}
	}
	s.cert.Store(&cert)
	s.cfg.Logger.Info("certificate loaded", "names", cert.Leaf.DNSNames, "expires", cert.Leaf.NotAfter)
	return nil
}

// run looks at the files now and then. Two that do not fit, as in the moment
// between two writes, are looked at again; the certificate in use stays.
func (s *fileSource) run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.ReloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		stamps, err := s.look()
		if err == nil && stamps == s.stamps {
			continue
		}
		if err == nil {
			err = s.load()
		}
		if err != nil {
			s.cfg.Logger.Error("certificate not reloaded", "error", err)
			continue
		}
		s.stamps = stamps
	}
}

func (s *fileSource) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := nameOf(hello)
	if cert := s.current(name); cert != nil {
		return cert, nil
	}
	return nil, noCertificate(name)
}

func (s *fileSource) current(name string) *tls.Certificate {
	cert := s.cert.Load()
	if len(s.cfg.Domains) > 0 && !slices.ContainsFunc(s.cfg.Domains, func(d string) bool { return covers(d, name) }) || cert.Leaf.VerifyHostname(name) != nil {
		return nil
	}
	return cert
}

// covers reports whether a configured name is a name, or stands for it (RFC 6125 §6.4.3).
func covers(pattern, name string) bool {
	if pattern == name {
		return true
	}
	below, ok := strings.CutPrefix(pattern, "*.")
	label, rest, _ := strings.Cut(name, ".")
	return ok && rest == below && label != "" && label != "*"
}

func (s *fileSource) names() []string {
	if len(s.cfg.Domains) > 0 {
		return s.cfg.Domains
	}
	return namesOf(s.cert.Load().Leaf)
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
