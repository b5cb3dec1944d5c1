package servercert

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/libdns"
	"github.com/libdns/rfc2136"
	"github.com/mholt/acmez/v3"
	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// ProviderRFC2136 is the one way to change a zone: dynamic updates (RFC 2136), signed with
// a shared key (TSIG, RFC 8945). BIND, Knot and PowerDNS take them, for one name only if
// they are told so.
const ProviderRFC2136 = "rfc2136"

// DNS01 says how records with proofs get into the DNS: TXT at _acme-challenge.<name>, for
// as long as an order takes.
type DNS01 struct {
	// Provider is rfc2136. Default: empty, names are proven another way.
	Provider string `yaml:"provider"`
	// Server is the primary of the zone, host:port; without a port, 53. Needed.
	Server string `yaml:"server"`
	// Zone is the zone that is changed, as in example.net. An update of another one is not
	// sent. Needed.
	Zone string `yaml:"zone"`
	// KeyName is what the server calls the key. Needed.
	KeyName string `yaml:"key_name"`
	// KeyFile holds the key, in base64. It is read for each change. Needed.
	KeyFile configs.SecretFile `yaml:"key_file"`
	// Algorithm is hmac-sha256, hmac-sha384 or hmac-sha512. Default: hmac-sha256.
	Algorithm string `yaml:"algorithm"`
	// Resolvers are asked for the zone, and whether the records are there, before the CA
	// is: host:port. Name the secondaries where the CA could ask them first. Default:
	// Server.
	Resolvers []string `yaml:"resolvers"`
	// Wait is how long it takes until changes are everywhere, before Resolvers are asked.
	// Default: 0.
	Wait time.Duration `yaml:"wait"`
}

// algorithms that sign updates. SHA-1 and MD5 do not.
var algorithms = map[string]string{"hmac-sha256": dns.HmacSHA256, "hmac-sha384": dns.HmacSHA384, "hmac-sha512": dns.HmacSHA512}

// Enabled tells whether names are proven by the DNS.
func (d DNS01) Enabled() bool { return d.Provider != "" }

// Validate checks what the file can set, each error a [configs.KeyError].
func (d DNS01) Validate() error {
	if !d.Enabled() {
		return nil
	}
	var all []error
	bad := func(key, hint, format string, args ...any) {
		all = append(all, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...), Hint: hint})
	}
	if d.Provider != ProviderRFC2136 {
		bad("provider", "", "%q, want %s", d.Provider, ProviderRFC2136)
	}
	if d.Server == "" {
		bad("server", "as in ns1.example.net:53", "is missing")
	}
	if _, ok := dns.IsDomainName(d.Zone); !ok || strings.Trim(d.Zone, ".") == "" {
		bad("zone", "as in example.net", "%q, want a DNS name", d.Zone)
	}
	if _, ok := dns.IsDomainName(d.KeyName); !ok || d.KeyName == "" {
		bad("key_name", "as the server's configuration has it", "%q, want a DNS name", d.KeyName)
	}
	if d.KeyFile == "" {
		bad("key_file", "", "is missing")
	}
	if _, ok := algorithms[d.algorithm()]; !ok {
		bad("algorithm", "", "%q, want hmac-sha256, hmac-sha384 or hmac-sha512", d.Algorithm)
	}
	if d.Wait < 0 {
		bad("wait", "", "is below zero")
	}
	return errors.Join(all...)
}

func (d DNS01) algorithm() string {
	if d.Algorithm == "" {
		return "hmac-sha256"
	}
	return strings.ToLower(d.Algorithm)
}

func (d DNS01) server() string {
	if _, _, err := net.SplitHostPort(d.Server); err != nil {
		return net.JoinHostPort(strings.Trim(d.Server, "[]"), "53")
	}
	return d.Server
}

// solver proves by the DNS; nil where names are proven another way.
func (d DNS01) solver(log *zap.Logger) acmez.Solver {
	if !d.Enabled() {
		return nil
	}
	resolvers := d.Resolvers
	if len(resolvers) == 0 {
		resolvers = []string{d.server()}
	}
	return &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
		DNSProvider: zone{d}, TTL: time.Minute, PropagationDelay: d.Wait, Resolvers: resolvers, Logger: log,
	}}
}

// zone changes the one zone that it may.
type zone struct{ cfg DNS01 }

var _ certmagic.DNSProvider = zone{}

// ErrUpdate: the DNS server has not taken a change.
var ErrUpdate = errors.New("the DNS server has not taken the update")

func (z zone) provider(name string) (*rfc2136.Provider, error) {
	if !strings.EqualFold(dns.Fqdn(name), dns.Fqdn(z.cfg.Zone)) {
		return nil, fmt.Errorf("dns01.zone: is %s, but the name to be proven is in the zone %s", z.cfg.Zone, name)
	}
	text, err := z.cfg.KeyFile.Read()
	if err != nil {
		return nil, &configs.KeyError{Key: "dns01.key_file", Problem: err.Error(), Cause: err}
	}
	key := strings.TrimSpace(string(text))
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) == 0 {
		return nil, &configs.KeyError{Key: "dns01.key_file", Problem: fmt.Sprintf("%s does not hold a key in base64", z.cfg.KeyFile)}
	}
	return &rfc2136.Provider{
		KeyName: z.cfg.KeyName, KeyAlg: algorithms[z.cfg.algorithm()], Key: key, Server: z.cfg.server(),
	}, nil
}

// AppendRecords is for a proof.
func (z zone) AppendRecords(ctx context.Context, name string, records []libdns.Record) ([]libdns.Record, error) {
	p, err := z.provider(name)
	if err != nil {
		return nil, err
	}
	done, err := p.AppendRecords(ctx, name, records)
	return done, z.explain(err)
}

// DeleteRecords takes it away again.
func (z zone) DeleteRecords(ctx context.Context, name string, records []libdns.Record) ([]libdns.Record, error) {
	p, err := z.provider(name)
	if err != nil {
		return nil, err
	}
	done, err := p.DeleteRecords(ctx, name, records)
	return done, z.explain(err)
}

// explain says what to look at after an update that failed.
func (z zone) explain(err error) error {
	if err == nil {
		return nil
	}
	text := strings.ToUpper(err.Error())
	hint := "is it the primary of " + z.cfg.Zone + ", and does it take updates over TCP?"
	for _, sign := range []string{"NOTAUTH", "BADSIG", "BADKEY", "BADTIME", "BAD SIGNATURE", "BAD KEY", "BAD TIME", "BAD AUTHENTICATION", "BAD TSIG"} {
		if strings.Contains(text, sign) {
			hint = "compare dns01.key_name, key_file and algorithm with the server's key, and the two clocks"
		}
	}
	if strings.Contains(text, "REFUSED") {
		hint = "the server's policy has to let the key " + z.cfg.KeyName + " change TXT records of " + z.cfg.Zone
	}
	return fmt.Errorf("%w: %s: %w; %s", ErrUpdate, z.cfg.server(), err, hint)
}
