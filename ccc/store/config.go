package store

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Engine is what keeps the database.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"   // a file of this machine
	Postgres Engine = "postgres" // a PostgreSQL server, version 13 or newer
)

// Config says where the database is. Zero values mean the documented defaults.
type Config struct {
	// Engine: sqlite or postgres. Default: sqlite.
	Engine Engine `yaml:"engine"`
	// Path of SQLite's file, which is made where there is none. Beside it are two
	// more, with -wal and -shm after the name, and one with .lock. The directory has
	// to be on a local disk. Required for sqlite.
	Path string `yaml:"path"`
	// URLFile holds the URL of PostgreSQL's database, with its password:
	// postgres://ccc:password@db.example.com/ccc?sslmode=verify-full
	// For other machines sslmode has to be given. The user has to be allowed to make
	// tables. Required for postgres.
	URLFile configs.SecretFile `yaml:"url_file"`
	// MaxConnections: how many transactions run at once. SQLite has one more, for
	// changes. 1 to 1000. Default: 8.
	MaxConnections int `yaml:"max_connections"`
	// BusyTimeout is how long a change waits for that of another process on SQLite's
	// file. Default: 10s.
	BusyTimeout time.Duration `yaml:"busy_timeout"`
	// RetryFor is how long a change is tried again that PostgreSQL refuses because it
	// ran beside another one. Default: 20s.
	RetryFor time.Duration `yaml:"retry_for"`
	// ScrubAfter is how long an erased secret may remain in SQLite's log of changes,
	// the file with -wal after the name, before it is overwritten there, too.
	// PostgreSQL keeps its own log, and pages until they are vacuumed. Default: 5s.
	ScrubAfter time.Duration `yaml:"scrub_after"`

	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Engine: SQLite, MaxConnections: 8, BusyTimeout: 10 * time.Second,
		RetryFor: 20 * time.Second, ScrubAfter: 5 * time.Second,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Engine == "" {
		c.Engine = d.Engine
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = d.MaxConnections
	}
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.BusyTimeout, d.BusyTimeout}, {&c.RetryFor, d.RetryFor}, {&c.ScrubAfter, d.ScrubAfter}} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct. It reads no file.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	wrong := func(key, problem, hint string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	switch c.Engine {
	case SQLite:
		if c.Path == "" {
			wrong("path", "is required", "as in /var/lib/ccc/ccc.db")
		}
		if strings.ContainsAny(c.Path, "?#\x00") {
			wrong("path", "has a character in it that SQLite would not take for one of the name", "leave out ? and #")
		}
		if c.URLFile != "" {
			wrong("url_file", "is for PostgreSQL", "set engine to postgres, or leave url_file out")
		}
	case Postgres:
		if c.URLFile == "" {
			wrong("url_file", "is required", "the path of a file with "+urlExample)
		}
		if c.Path != "" {
			wrong("path", "is for SQLite", "set engine to sqlite, or leave path out")
		}
	default:
		wrong("engine", "is neither sqlite nor postgres", "")
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1000 {
		wrong("max_connections", "is not between 1 and 1000", "")
	}
	for _, d := range []struct {
		key string
		v   time.Duration
	}{{"busy_timeout", c.BusyTimeout}, {"retry_for", c.RetryFor}, {"scrub_after", c.ScrubAfter}} {
		if d.v < time.Millisecond || d.v > time.Hour {
			wrong(d.key, "is not between 1ms and 1h", "")
		}
	}
	return errors.Join(all...)
}

const urlExample = "postgres://ccc:password@db.example.com/ccc?sslmode=verify-full"

// url reads the file. The URL is in no message, because of the password.
func (c Config) url() (*pgx.ConnConfig, error) {
	wrong := func(problem, hint string) error {
		return &configs.KeyError{Key: "url_file", Problem: string(c.URLFile) + ": " + problem, Hint: hint}
	}
	text, err := c.URLFile.Read()
	if err != nil {
		return nil, &configs.KeyError{Key: "url_file", Problem: err.Error(), Cause: err}
	}
	u, err := url.Parse(strings.TrimSpace(string(text)))
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, wrong("is not the URL of a PostgreSQL database", "as in "+urlExample)
	}
	conn, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, wrong("is not the URL of a PostgreSQL database", "as in "+urlExample)
	}
	hosts := []string{conn.Host}
	for _, f := range conn.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, host := range hosts {
		local := strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || configs.IsLoopback(host)
		if !local && !u.Query().Has("sslmode") {
			return nil, wrong("names another machine, but no sslmode",
				"sslmode=verify-full, with sslrootcert=FILE for a CA that the system does not know")
		}
	}
	return conn, nil
}
