package store

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// PostgresConfig says where the store of [OpenPostgres] is. Zero values mean the
// documented defaults; URL has none.
type PostgresConfig struct {
	// URL of the database, without a password:
	// postgres://pki@db.example.com/pki?sslmode=verify-full&sslrootcert=/etc/pki/db-ca.pem
	// Several hosts may be given, db1,db2; with target_session_attrs=read-write
	// the one that takes changes is used. A directory as host, as in
	// postgres://pki@/pki?host=/run/postgresql, means a Unix socket. For other
	// machines sslmode has to be given. The user has to own the schema, or to be
	// allowed to make it.
	URL string `yaml:"url"`
	// PasswordFile holds the user's password. It is read for every new
	// connection. Default: none, for servers that know the user by his
	// certificate (sslcert and sslkey in the URL) or as user of the system.
	PasswordFile configs.SecretFile `yaml:"password_file"`
	// Schema that everything is kept in. Default: pki.
	Schema string `yaml:"schema"`
	// MaxConnections to the server, of which one makes the changes and one
	// listens for those of other processes. At least 3. Default: 8.
	MaxConnections int `yaml:"max_connections"`
	// ConnectTimeout for making a connection. Default: 5s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// StatementTimeout is how long one statement may take, and how long the
	// changes of other processes are waited for. A process that stops in the
	// middle of a change loses it after this time, so that the others go on.
	// Default: 30s.
	StatementTimeout time.Duration `yaml:"statement_timeout"`
	// RetryFor is how long changes wait for a server that restarts or cannot
	// be reached, before they fail. Default: 10s.
	RetryFor time.Duration `yaml:"retry_for"`

	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
}

// DefaultPostgresConfig gives the values that stand for the zero value.
func DefaultPostgresConfig() PostgresConfig {
	return PostgresConfig{
		Schema: "pki", MaxConnections: 8, ConnectTimeout: 5 * time.Second,
		StatementTimeout: 30 * time.Second, RetryFor: 10 * time.Second,
	}
}

func (c PostgresConfig) withDefaults() PostgresConfig {
	d := DefaultPostgresConfig()
	if c.Schema == "" {
		c.Schema = d.Schema
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = d.MaxConnections
	}
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.ConnectTimeout, d.ConnectTimeout},
		{&c.StatementTimeout, d.StatementTimeout},
		{&c.RetryFor, d.RetryFor},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

var schemaName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// urlExample is the hint for a wrong URL. The URL itself is in no message: it may
// have a password in it where there should be none.
const urlExample = "as in postgres://pki@db.example.com/pki?sslmode=verify-full"

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct.
func (c PostgresConfig) Validate() error {
	c = c.withDefaults()
	all := []error{c.validateURL()}
	if !schemaName.MatchString(c.Schema) || strings.HasPrefix(c.Schema, "pg_") {
		all = append(all, &configs.KeyError{
			Key: "schema", Problem: "is not a lower-case word of at most 40 letters, digits and _", Hint: "as in pki",
		})
	}
	if c.MaxConnections < 3 || c.MaxConnections > 1000 {
		all = append(all, &configs.KeyError{Key: "max_connections", Problem: "is not between 3 and 1000"})
	}
	for key, d := range map[string]time.Duration{
		"connect_timeout": c.ConnectTimeout, "statement_timeout": c.StatementTimeout,
	} {
		if d < time.Millisecond {
			all = append(all, &configs.KeyError{Key: key, Problem: "is below 1ms"})
		}
	}
	if c.RetryFor < 0 {
		all = append(all, &configs.KeyError{Key: "retry_for", Problem: "is below zero"})
	}
	return errors.Join(all...)
}

func (c PostgresConfig) validateURL() error {
	wrong := func(problem, hint string) error {
		return &configs.KeyError{Key: "url", Problem: problem, Hint: hint}
	}
	if c.URL == "" {
		return wrong("is required", urlExample)
	}
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return wrong("is not the URL of a PostgreSQL database", urlExample)
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return wrong("has a password in it", "put the password into a file, and its name into password_file")
	}
	conn, err := c.parse()
	if err != nil {
		return wrong("is not the URL of a PostgreSQL database", urlExample)
	}
	hosts := []string{conn.Host}
	for _, f := range conn.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, host := range hosts {
		if !local(host) && !u.Query().Has("sslmode") {
			return wrong("names another machine, but no sslmode",
				"sslmode=verify-full, with sslrootcert=FILE for a CA that the system does not know")
		}
	}
	return nil
}

// local tells whether a connection to the host stays on this machine.
func local(host string) bool {
	if host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
