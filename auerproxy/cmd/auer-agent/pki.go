package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// PKI says where certificates come from.
type PKI struct {
	// URL of the PKI, e.g. https://pki.example.net:8443. Empty: the certificate is
	// not renewed.
	URL string `yaml:"url"`
	// TrustDomain is the name under which the PKI issues. Default comtrexx.test.
	TrustDomain identity.TrustDomain `yaml:"trust_domain"`
	// Roots is a PEM file with the roots by which the PKI is known before there is
	// a certificate; Fingerprint is the SHA-256 of one, in hex, instead. Default:
	// none.
	Roots       string `yaml:"roots"`
	Fingerprint string `yaml:"fingerprint"`
	// FactoryURL is where the PKI takes factory certificates, and FactoryDir has
	// the device's (IEEE 802.1AR IDevID): cert.pem and key.pem. With both, a device
	// enrols by itself. Default: none.
	FactoryURL string `yaml:"factory_url"`
	FactoryDir string `yaml:"factory_dir"`
	// SecretFile holds "serial:secret", with which a device without a factory
	// certificate enrols by itself, once. Default: none.
	SecretFile configs.SecretFile `yaml:"secret_file"`
	// RecoveryURL is where the PKI renews a certificate that has expired. Default:
	// none.
	RecoveryURL string `yaml:"recovery_url"`
	// RenewVia is the way to the PKI for a renewal: direct, tunnel (the relay has to
	// have the PKI in relay.services), or auto (default): direct, and the tunnel
	// where that fails.
	RenewVia string `yaml:"renew_via"`
	// Renewal tunes the renewal; see [enrol.Renewal].
	Renewal enrol.Renewal `yaml:"renewal"`
}

// The values of [PKI.RenewVia].
const (
	viaAuto   = "auto"
	viaDirect = "direct"
	viaTunnel = "tunnel"
)

func (p *PKI) validate(bad func(key, problem, hint string)) {
	for _, a := range []struct{ key, address string }{
		{"pki.url", p.URL}, {"pki.factory_url", p.FactoryURL}, {"pki.recovery_url", p.RecoveryURL},
	} {
		if u, err := url.Parse(a.address); a.address != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			bad(a.key, fmt.Sprintf("%q is no https address", a.address), "as in https://pki.example.net:8443")
		}
	}
	if _, err := identity.ParseTrustDomain(string(p.TrustDomain)); err != nil {
		bad("pki.trust_domain", err.Error(), "")
	}
	switch p.RenewVia {
	case viaAuto, viaDirect, viaTunnel:
	default:
		bad("pki.renew_via", fmt.Sprintf("%q is no way", p.RenewVia), "auto, direct or tunnel")
	}
	if (p.FactoryURL == "") != (p.FactoryDir == "") {
		bad("pki.factory_dir", "goes with pki.factory_url only", "set both, or none")
	}
	if p.enrols() && p.Roots == "" && p.Fingerprint == "" {
		bad("pki.roots", "is required to enrol", "or pki.fingerprint")
	}
}

// enrols tells whether the device can enrol by itself.
func (p *PKI) enrols() bool { return p.FactoryDir != "" || p.SecretFile != "" }

// client makes the client of the PKI.
func (p *PKI) client(clock *enrol.Clock, log hclog.Logger) (*enrol.Client, error) {
	c := &enrol.Client{
		URL: p.URL, TrustDomain: p.TrustDomain, RootFingerprint: p.Fingerprint,
		FactoryURL: p.FactoryURL, RecoveryURL: p.RecoveryURL, Clock: clock, Logger: log,
	}
	if p.Roots != "" {
		text, err := os.ReadFile(p.Roots)
		if err != nil {
			return nil, err
		}
		if c.Roots, err = enrol.ParseCertificates(text); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Roots, err)
		}
	}
	if p.FactoryDir != "" {
		var err error
		if c.Factory, err = enrol.LoadFactory(p.FactoryDir); err != nil {
			return nil, fmt.Errorf("factory certificate: %w", err)
		}
	}
	return c, nil
}

// enrol gets the first certificate with what the device left the factory with. A
// want that is not the zero ID must be the device's.
func (p *PKI) enrol(ctx context.Context, c *enrol.Client, want identity.ID) (*enrol.Credentials, error) {
	if p.FactoryDir != "" {
		return c.EnrolFactory(ctx, want)
	}
	text, err := p.SecretFile.Read()
	if err != nil {
		return nil, err
	}
	name, secret, _ := strings.Cut(string(text), ":")
	serial, err := identity.ParseSerial(name)
	if err != nil {
		return nil, fmt.Errorf("%s: want serial:secret: %w", p.SecretFile, err)
	}
	if id := identity.Device(p.TrustDomain, serial); !want.IsZero() && id != want {
		return nil, fmt.Errorf("%w: the secret is for %s, want %s", identity.ErrUnexpected, id, want)
	}
	return c.EnrolSecret(ctx, serial, secret)
}

// enrolUntil is enrol until it succeeds, or ctx ends.
func (p *PKI) enrolUntil(ctx context.Context, c *enrol.Client) (*enrol.Credentials, error) {
	ceiling, most := cmp.Or(p.Renewal.RetryMin, enrol.DefaultRetryMin), cmp.Or(p.Renewal.RetryMax, enrol.DefaultRetryMax)
	for {
		creds, err := p.enrol(ctx, c, identity.ID{})
		if err == nil || ctx.Err() != nil {
			return creds, err
		}
		wait := time.Duration(rand.Int64N(int64(ceiling) + 1))
		c.Logger.Warn("not enrolled", "error", err, "next", wait)
		ceiling = min(2*ceiling, max(most, ceiling))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(err, context.Cause(ctx))
		case <-timer.C:
		}
	}
}
