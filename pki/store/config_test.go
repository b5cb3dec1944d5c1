package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

func TestPostgresConfig(t *testing.T) {
	t.Parallel()
	const good = "postgres://pki@/pki?host=/run/postgresql"
	for _, c := range []struct {
		cfg PostgresConfig
		key string // empty: it is valid
	}{
		{PostgresConfig{URL: good}, ""},
		{PostgresConfig{URL: "postgresql://pki@localhost:5433/pki"}, ""},
		{PostgresConfig{URL: "postgres://pki@127.0.0.1,localhost/pki"}, ""},
		{PostgresConfig{URL: "postgres://pki@db.example.com/pki?sslmode=verify-full"}, ""},
		{PostgresConfig{URL: "postgres://pki@db1.example.com,db2.example.com/pki?sslmode=verify-full&target_session_attrs=read-write"}, ""},
		{PostgresConfig{URL: good, Schema: "pki_2", MaxConnections: 3, StatementTimeout: time.Second, RetryFor: time.Hour}, ""},
		{PostgresConfig{}, "url"},
		{PostgresConfig{URL: "host=/run/postgresql dbname=pki password=hunter2"}, "url"},
		{PostgresConfig{URL: "mysql://pki:hunter2@localhost/pki"}, "url"},
		{PostgresConfig{URL: "postgres://pki:hunter2@localhost/pki"}, "url"},
		{PostgresConfig{URL: "postgres://pki:hunter2/@localhost/pki"}, "url"},
		{PostgresConfig{URL: "postgres://pki@localhost/pki?password=hunter2"}, "url"},
		{PostgresConfig{URL: "postgres://pki@localhost/pki?sslmode=perhaps"}, "url"},
		{PostgresConfig{URL: "postgres://pki@db.example.com/pki"}, "url"},
		{PostgresConfig{URL: "postgres://pki@localhost,db.example.com/pki"}, "url"},
		{PostgresConfig{URL: good, Schema: "Pki"}, "schema"},
		{PostgresConfig{URL: good, Schema: "pg_pki"}, "schema"},
		{PostgresConfig{URL: good, Schema: `pki"; drop`}, "schema"},
		{PostgresConfig{URL: good, Schema: strings.Repeat("a", 41)}, "schema"},
		{PostgresConfig{URL: good, MaxConnections: 2}, "max_connections"},
		{PostgresConfig{URL: good, StatementTimeout: -1}, "statement_timeout"},
		{PostgresConfig{URL: good, ConnectTimeout: time.Microsecond}, "connect_timeout"},
		{PostgresConfig{URL: good, RetryFor: -1}, "retry_for"},
	} {
		err := c.cfg.Validate()
		if c.key == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.cfg, err)
			}
			continue
		}
		if e, ok := errors.AsType[*configs.KeyError](err); !ok || e.Key != c.key {
			t.Errorf("%+v: %v, want an error of %s", c.cfg, err, c.key)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}
