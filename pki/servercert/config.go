package servercert

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Mode says where certificates come from.
type Mode string

// The modes. Empty: there are no names.
const (
	ModeInternal Mode = "internal"
	ModePublic   Mode = "public"
	ModeFiles    Mode = "files"
)

// Config of a [Server]. Zero values mean the documented defaults.
type Config struct {
	// Mode is internal, public or files. Default: empty, no names at all.
	Mode Mode `yaml:"mode"`
	// Domains are the names: DNS names, and IP addresses where the CA signs for
	// them. Each has a certificate of its own. Needed with a CA; with files, the
	// names of the certificate count, and these bound them. With files and with
	// DNS01 "*.example.net" stands for every name one label below.
	Domains []string `yaml:"domains"`
	// Directory is the address of the CA's ACME directory. Internal: needed, as
	// "pki acme eab" prints it. Public: default Let's Encrypt. An account belongs to
	// an address: a new one needs a new eab_file.
	Directory string `yaml:"directory"`
	// EABFile holds the external account binding with which the account is opened,
	// once: JSON with key_id and hmac_key, as "pki acme eab ROLE --json" prints it.
	// Default: none.
	EABFile configs.SecretFile `yaml:"eab_file"`
	// Email is where a public CA sends its warnings; needed with one. With it, its
	// terms of service are agreed to. Not used otherwise.
	Email string `yaml:"email"`
	// Storage is the directory that keeps account, keys and certificates. Needed
	// with a CA. One process at a time.
	Storage string `yaml:"storage"`
	// HTTPPort is a port of this machine on which proofs over HTTP (http-01) are
	// answered while there is something to prove. Public CAs ask on port 80.
	// Default 0: proofs over TLS only, on the server's own port.
	HTTPPort int `yaml:"http_port"`
	// DNS01 proves names by records in the DNS (dns-01), and in no other way. Only so is
	// there a certificate for "*.<domain>" from a public CA. With ModePublic only. Default:
	// names are proven at the listener.
	DNS01 DNS01 `yaml:"dns01"`
	// CertFile and KeyFile are the certificate chain and its key, in PEM, for
	// files. They are read again when they change.
	CertFile string             `yaml:"cert_file"`
	KeyFile  configs.SecretFile `yaml:"key_file"`
	// ReloadEvery is how often files are looked at. Default: 10s.
	ReloadEvery time.Duration `yaml:"reload_every"`

	// Listen is the address of the server's TLS listener, host:port, on which
	// proofs are answered. Needed with a CA, but with DNS01 or Tunnelled.
	Listen string `yaml:"-"`
	// Tunnelled says that connections of the CA come to [Server.Challenge] another way
	// than by a listener of this machine. Default: they do not.
	Tunnelled bool `yaml:"-"`
	// EAB gives the external account binding where there is no EABFile: key id and key,
	// in base64url. It is asked when an account is about to be opened. Default: none.
	EAB func(ctx context.Context) (keyID, hmacKey string, err error) `yaml:"-"`
	// Ask tells of names that are not in Domains and come and go whether there may be a
	// certificate for one; it has to be quick. The first handshake for such a name waits
	// for the CA, so that strangers must not be able to make up names. With ModeInternal
	// only. What it denies later is deleted. Default: there are none.
	Ask func(name string) bool `yaml:"-"`
	// Roots gives the roots that the internal CA is known by. It is asked before
	// each order. Needed with ModeInternal.
	Roots func() *x509.CertPool `yaml:"-"`
	// PublicRoots are those that a public CA's ACME server is known by. Default: those of
	// the system.
	PublicRoots *x509.CertPool `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// Gauge registers a figure of the server's metrics, as daemon.Gauge does; nil means
	// that none is. A device has none.
	Gauge func(name, help string, value func() float64) error `yaml:"-"`
}

// renewalRatio is the part of a certificate's life that is left when it is renewed.
const renewalRatio = 0.5

// internalContact is the account's contact in ModeInternal. certmagic asks people
// for one where there is none; nobody writes to this one (RFC 6761 §6.4).
const internalContact = "servers@internal.invalid"

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{ReloadEvery: 10 * time.Second, DNS01: DNS01{Algorithm: "hmac-sha256"}}
}

func (c Config) withDefaults() Config {
	c.ReloadEvery = cmp.Or(c.ReloadEvery, DefaultConfig().ReloadEvery)
	switch c.Mode {
	case ModeInternal:
		c.Email = internalContact
	case ModePublic:
		c.Directory = cmp.Or(c.Directory, certmagic.LetsEncryptProductionCA)
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Enabled tells whether there are names at all.
func (c Config) Enabled() bool { return c.Mode != "" }

// acme tells whether certificates come from a CA.
func (c Config) acme() bool { return c.Mode == ModeInternal || c.Mode == ModePublic }

// Validate checks what the file can set, each error a [configs.KeyError] with the
// key below this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	bad := func(key, hint, format string, args ...any) {
		all = append(all, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...), Hint: hint})
	}
	switch c.Mode {
	case "":
		if len(c.Domains) > 0 || c.CertFile != "" {
			bad("mode", "internal, public or files", "is missing")
		}
	case ModeFiles:
		if c.CertFile == "" {
			bad("cert_file", "", "is missing")
		}
		if c.KeyFile == "" {
			bad("key_file", "", "is missing")
		}
	case ModeInternal, ModePublic:
		if len(c.Domains) == 0 {
			bad("domains", "", "is empty")
		}
		if c.Storage == "" {
			bad("storage", "as in /var/lib/auerproxy/names", "is missing")
		}
		if u, err := url.Parse(c.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
			bad("directory", "as in https://127.0.0.1:8444/acme/srv-auerproxy/directory", "%q, want an https address", c.Directory)
		}
		if c.Mode == ModePublic && !strings.Contains(c.Email, "@") {
			bad("email", "a public CA warns there before a certificate expires", "%q, want an address", c.Email)
		}
	default:
		bad("mode", "", "%q, want internal, public or files", c.Mode)
	}
	for i, d := range c.Domains {
		key := fmt.Sprintf("domains[%d]", i)
		switch _, err := netip.ParseAddr(d); {
		case (c.Mode == ModeFiles || c.DNS01.Enabled()) && strings.HasPrefix(d, "*.") && !strings.Contains(d[2:], "*") && certmagic.SubjectQualifiesForCert(d[2:]) && d == strings.ToLower(d):
			// every name that the certificate's wildcard covers
		case err != nil && (d == "" || d != strings.ToLower(d) || strings.ContainsAny(d, "*:/ ") || !certmagic.SubjectQualifiesForCert(d)):
			bad(key, "", "%q, want a lower-case DNS name or an IP address", d)
		case c.Mode == ModePublic && !certmagic.SubjectQualifiesForPublicCert(d):
			bad(key, "mode internal has certificates for such names", "no public CA certifies %q", d)
		case slices.Contains(c.Domains[:i], d):
			bad(key, "", "%q is there twice", d)
		}
	}
	if c.DNS01.Enabled() && c.Mode != ModePublic {
		bad("dns01.provider", "mode public proves names by the DNS", "is set with mode %q", c.Mode)
	}
	if err := configs.Under("dns01", c.DNS01.Validate()); err != nil {
		all = append(all, err)
	}
	if c.HTTPPort < 0 || c.HTTPPort > 65535 {
		bad("http_port", "", "%d is no port", c.HTTPPort)
	}
	if c.ReloadEvery < 0 {
		bad("reload_every", "", "is below zero")
	}
	return errors.Join(all...)
}

// checkRuntime checks what only the program can give.
func (c Config) checkRuntime() error {
	if !c.Enabled() {
		return errors.New("servercert: no mode")
	}
	if c.Mode == ModeInternal && c.Roots == nil {
		return errors.New("servercert: Roots are needed in mode internal")
	}
	if c.Ask != nil && c.Mode == ModePublic {
		return errors.New("servercert: Ask is not for mode public, whose CAs limit how many certificates there are")
	}
	if !c.acme() {
		return nil
	}
	if c.DNS01.Enabled() {
		_, err := zone{c.DNS01}.provider(c.DNS01.Zone) // so that a key that cannot be read shows now
		return err
	}
	if c.Tunnelled {
		return nil
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "0" {
		return fmt.Errorf("servercert: Listen %q, want an address with a port", c.Listen)
	}
	return nil
}
