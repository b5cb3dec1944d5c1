package mail

import (
	"cmp"
	"errors"
	"net"
	netmail "net/mail"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// TLS says how the way to the mail server is protected.
type TLS string

// The ways.
const (
	StartTLS TLS = "starttls" // RFC 3207; needed, not only tried
	Implicit TLS = "tls"      // RFC 8314 §3.3
	None     TLS = "none"     // to a server of this machine only
)

// Config says how mails are sent. Zero values mean the documented defaults.
type Config struct {
	// Server takes the mails: host:port. Empty: there is no mail, and whoever invites
	// somebody is shown the link.
	Server string `yaml:"server"`
	// TLS: starttls, tls, or none for a server on a loopback address. Default: starttls.
	TLS TLS `yaml:"tls"`
	// CAFile has the certificates, PEM, that the server's is checked with. Default: those
	// of the system.
	CAFile string `yaml:"ca_file"`
	// User and PasswordFile are what to sign in with. Default: nothing.
	User         string             `yaml:"user"`
	PasswordFile configs.SecretFile `yaml:"password_file"`
	// From is the address that mails are from; the brand's name comes before it. Required.
	From string `yaml:"from"`
	// ReplyTo is where answers go. Default: From.
	ReplyTo string `yaml:"reply_to"`
	// Hello is the name that the server is greeted with (RFC 5321 §4.1.1.1). Default: the
	// host of From.
	Hello string `yaml:"hello"`
	// Timeout bounds one try. 1s to 10m. Default: 30s.
	Timeout time.Duration `yaml:"timeout"`
	// Parallel is how many are sent at once. 1 to 64. Default: 4.
	Parallel int `yaml:"parallel"`
	// PerHour is how many are sent in any hour; others wait. 1 to 1000000. Default: 1000.
	PerHour int `yaml:"per_hour"`
	// Reserved is how many of these only mails about passwords can be, which also come before
	// invitations; at most half of PerHour. 1 to 1000000. Default: 100.
	Reserved int `yaml:"reserved"`
	// PerTenant is how many of one tenant's are sent in any hour, invitations and mails about
	// passwords each; others wait. Where many wait, tenants have turns. 1 to 1000000.
	// Default: 100.
	PerTenant int `yaml:"per_tenant"`
	// LookEvery is how often it is looked what is to be sent. 10ms to 1m. Default: 2s.
	LookEvery time.Duration `yaml:"look_every"`
	// RetryMin and RetryMax are the wait after a try that failed, which doubles from one to
	// the other. 10ms to 24h. Default: 1m and 1h.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// GiveUp is how long a mail is tried, if what is in it is good for so long. 1m to 240h.
	// Default: 48h.
	GiveUp time.Duration `yaml:"give_up"`
	// Keep is how long it is known of a mail that it was sent, or why not. 1h to 8760h.
	// Default: 720h.
	Keep time.Duration `yaml:"keep"`

	// Store and Keys are required.
	Store *store.DB     `yaml:"-"`
	Keys  *seal.Keyring `yaml:"-"`
	// Logger; nil means silence. It is told no address.
	Logger hclog.Logger `yaml:"-"`
	// Metrics; nil means that none are registered.
	Metrics prometheus.Registerer `yaml:"-"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		TLS: StartTLS, Timeout: 30 * time.Second, Parallel: 4, PerHour: 1000, Reserved: 100, PerTenant: 100, LookEvery: 2 * time.Second,
		RetryMin: time.Minute, RetryMax: time.Hour, GiveUp: 48 * time.Hour, Keep: 720 * time.Hour,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.TLS = cmp.Or(c.TLS, d.TLS)
	c.Timeout = cmp.Or(c.Timeout, d.Timeout)
	c.Parallel = cmp.Or(c.Parallel, d.Parallel)
	c.PerHour = cmp.Or(c.PerHour, d.PerHour)
	c.Reserved = min(cmp.Or(c.Reserved, d.Reserved), c.PerHour/2)
	c.PerTenant = cmp.Or(c.PerTenant, d.PerTenant)
	c.LookEvery = cmp.Or(c.LookEvery, d.LookEvery)
	c.RetryMin = cmp.Or(c.RetryMin, d.RetryMin)
	c.RetryMax = cmp.Or(c.RetryMax, d.RetryMax)
	c.GiveUp = cmp.Or(c.GiveUp, d.GiveUp)
	c.Keep = cmp.Or(c.Keep, d.Keep)
	c.Hello = cmp.Or(c.Hello, hostOf(c.From))
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below this
// struct. It reads no file.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	wrong := func(key, problem, hint string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	for _, d := range []struct {
		key            string
		v, least, most time.Duration
	}{
		{"timeout", c.Timeout, time.Second, 10 * time.Minute},
		{"look_every", c.LookEvery, 10 * time.Millisecond, time.Minute},
		{"retry_min", c.RetryMin, 10 * time.Millisecond, c.RetryMax},
		{"retry_max", c.RetryMax, 10 * time.Millisecond, 24 * time.Hour},
		{"give_up", c.GiveUp, time.Minute, 240 * time.Hour},
		{"keep", c.Keep, time.Hour, 8760 * time.Hour},
	} {
		if d.v < d.least || d.v > d.most {
			wrong(d.key, "is not between "+d.least.String()+" and "+d.most.String(), "")
		}
	}
	if c.Parallel < 1 || c.Parallel > 64 {
		wrong("parallel", "is not between 1 and 64", "")
	}
	if c.PerHour < 1 || c.PerHour > 1_000_000 {
		wrong("per_hour", "is not between 1 and 1000000", "")
	}
	if c.Reserved < 0 || c.Reserved > 1_000_000 {
		wrong("reserved", "is not between 1 and 1000000", "")
	}
	if c.PerTenant < 1 || c.PerTenant > 1_000_000 {
		wrong("per_tenant", "is not between 1 and 1000000", "")
	}
	if c.TLS != StartTLS && c.TLS != Implicit && c.TLS != None {
		wrong("tls", "is neither starttls, tls nor none", "")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		wrong("password_file", "and user belong together", "leave out both, or none")
	}
	if c.Server == "" {
		return errors.Join(all...)
	}
	host, port, err := net.SplitHostPort(c.Server)
	if n, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || n < 1 || n > 65535 {
		wrong("server", "is not host:port", "as in mail.example.net:587")
	} else if c.TLS == None && !configs.IsLoopback(host) {
		wrong("tls", "is none, and server is another machine", "mails would be readable on the way")
	}
	if !address(c.From) {
		wrong("from", "is not an address", "as in ccc@example.net, without a name")
	}
	if c.ReplyTo != "" && !address(c.ReplyTo) {
		wrong("reply_to", "is not an address", "as in support@example.net, without a name")
	}
	return errors.Join(all...)
}

// address tells whether a text is an address and nothing else, which can stand in a header.
func address(text string) bool {
	a, err := netmail.ParseAddress(text)
	return err == nil && a.Address == text && a.Name == "" && oneLine(text) == text
}
