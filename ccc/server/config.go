package server

import (
	"errors"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/statistics"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/webhook"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// Config is everything that the control centre can be told. Fields with a yaml key may
// come from a file; the others come from the program.
type Config struct {
	// Listen is the address of the listener for https, host:port. Port 0 takes a free
	// one, with names from files only. Default: none.
	Listen string `yaml:"listen"`
	// HTTPListen is the address of one for plain http, which has to be a loopback one:
	// for a browser on the same machine, or a proxy there. Default: none. One of both is
	// needed.
	HTTPListen string `yaml:"http_listen"`
	// Names are the names under which browsers find Listen, and their certificates.
	Names servercert.Config `yaml:"names"`
	// Dial is how PBXs are reached: through which relays.
	Dial dial.Config `yaml:"dial"`
	// Store is the database.
	Store store.Config `yaml:"store"`
	// Keys are the files of the keys that secrets in the database are sealed with, as made
	// by "ccc key new": the first seals, all of them open.
	Keys []configs.SecretFile `yaml:"keys"`
	// Mail is how invitations and links for new passwords are sent.
	Mail mail.Config `yaml:"mail"`
	// Account bounds passwords, sessions and attempts to sign in.
	Account account.Config `yaml:"account"`
	// Pairing bounds offers.
	Pairing pairing.Limits `yaml:"pairing"`
	// Remote is remote access to PBXs.
	Remote remote.Config `yaml:"remote"`
	// Rollout is the configuration of PBXs.
	Rollout rollout.Config `yaml:"rollout"`
	// Fleet is what is known of who is online.
	Fleet fleet.Config `yaml:"fleet"`
	// Statistics are the counts of accesses that operators see.
	Statistics statistics.Config `yaml:"statistics"`
	// Audit is how the audit log is kept.
	Audit audit.Config `yaml:"audit"`
	// Webhooks are how the programs of tenants are told what happens.
	Webhooks webhook.Config `yaml:"webhooks"`
	// API bounds requests and live events.
	API api.Config `yaml:"api"`
	// Brands are the names under which the control centre is offered. The first one is
	// shown where the host has none. Default: Auerswald, and FONtevo at ccc.fontevo.test.
	Brands []api.BrandConfig `yaml:"brands"`
	// FirstAdmin is the person that an empty database begins with.
	FirstAdmin FirstAdmin `yaml:"first_admin"`

	// Pages are the files of the pages, as "npm run build" makes them. Nil: those in the
	// program.
	Pages fs.FS `yaml:"-"`
	// Credentials are those of service/ccc. Needed.
	Credentials *enrol.Credentials `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// AccessLog notes every request; nil means that none is.
	AccessLog *accesslog.Log `yaml:"-"`
	// Metrics; nil means that none are registered.
	Metrics prometheus.Registerer `yaml:"-"`
}

// FirstAdmin is made, as the owner of a tenant, where the database has no tenant.
type FirstAdmin struct {
	// File is made with the password in it, readable by its owner alone. Default: nobody
	// is made; use "ccc tenant add" and "ccc user add".
	File string `yaml:"file"`
	// Email is what he signs in with. Default: admin@ccc.invalid.
	Email string `yaml:"email"`
	// Tenant is the legal name of the organisation, as a PBX shows it. Default: Operator.
	Tenant string `yaml:"tenant"`
	// Language of his pages: de, en or fr. Default: de.
	Language store.Language `yaml:"language"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Names: servercert.DefaultConfig(), Dial: dial.Default(), Store: store.DefaultConfig(),
		Mail: mail.DefaultConfig(), Account: account.DefaultConfig(), Pairing: pairing.DefaultLimits(), Remote: remote.DefaultConfig(), Rollout: rollout.DefaultConfig(), Fleet: fleet.DefaultConfig(),
		Audit: audit.DefaultConfig(), API: api.DefaultConfig(), Brands: api.DefaultBrands(),
		Webhooks:   webhook.DefaultConfig(),
		FirstAdmin: FirstAdmin{Email: "admin@ccc.invalid", Tenant: "Operator", Language: store.German},
	}
}

// Validate checks what a file can set, each error a [configs.KeyError].
func (c Config) Validate() error {
	all := []error{
		c.validateListeners(), configs.Under("webhooks", c.Webhooks.Validate()),
		configs.Under("names", c.Names.Validate()), configs.Under("dial", c.Dial.Validate()),
		configs.Under("store", c.Store.Validate()), configs.Under("account", c.Account.Validate()), configs.Under("mail", c.Mail.Validate()),
		configs.Under("pairing", c.Pairing.Validate()), configs.Under("remote", c.Remote.Validate(c.hosts()...)), configs.Under("rollout", c.Rollout.Validate()), configs.Under("fleet", c.Fleet.Validate()),
		configs.Under("statistics", c.Statistics.Validate()), configs.Under("audit", c.Audit.Validate()), configs.Under("api", c.API.Validate()), configs.Under("brands", api.ValidateBrands(c.Brands)),
	}
	wrong := func(key, problem, hint string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	if c.Mail.Server != "" && c.Account.ExternalURL == "" {
		wrong("account.external_url", "is missing", "the links in mails lead there")
	}
	if len(c.Keys) == 0 {
		wrong("keys", "has no file", "make one with: ccc key new --out FILE")
	}
	if f := c.FirstAdmin; f.File != "" {
		if !strings.Contains(f.Email, "@") {
			wrong("first_admin.email", "is not an address", "")
		}
		if err := wire.CheckTenant(f.Tenant, ""); err != nil {
			wrong("first_admin.tenant", err.Error(), "PBXs show it before they are paired")
		}
		if l := f.Language; l != store.German && l != store.English && l != store.French {
			wrong("first_admin.language", "is neither de, en nor fr", "")
		}
	}
	return errors.Join(all...)
}

// hosts are the names under which browsers find the control centre.
func (c Config) hosts() []string {
	all := slices.Concat(c.API.Hosts, c.Names.Domains)
	for _, b := range c.Brands {
		all = append(all, b.Hosts...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c Config) validateListeners() error {
	var all []error
	wrong := func(key, problem, hint string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	if c.Listen == "" && c.HTTPListen == "" {
		wrong("listen", "is missing", "as in :443, with a certificate from names")
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			wrong("listen", err.Error(), "as in :443")
		}
		if !c.Names.Enabled() {
			wrong("names.mode", "is missing", "https needs a certificate; without, use http_listen")
		}
	}
	if c.HTTPListen != "" {
		host, _, err := net.SplitHostPort(c.HTTPListen)
		switch {
		case err != nil:
			wrong("http_listen", err.Error(), "as in 127.0.0.1:8080")
		case !configs.IsLoopback(host):
			wrong("http_listen", "is not a loopback address", "passwords would be readable on the way; use listen")
		}
	}
	return errors.Join(all...)
}
