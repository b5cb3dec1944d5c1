package authority

import (
	"context"
	"fmt"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Kinds of store.
const (
	StoreFile     = "file"
	StorePostgres = "postgres"
)

// StoreConfig says where certificates, devices, blocks and audit log are kept.
type StoreConfig struct {
	// Kind is file (bbolt, pki.db in StateDir, for one process) or postgres (for
	// several processes with the same keys). Default: file.
	Kind string `yaml:"kind"`
	// Postgres is where the store is with kind postgres.
	Postgres store.PostgresConfig `yaml:"postgres"`
}

func (c StoreConfig) validate() error {
	switch c.Kind {
	case "", StoreFile:
		return nil
	case StorePostgres:
		return configs.Under("postgres", c.Postgres.Validate())
	}
	return &configs.KeyError{Key: "kind", Problem: fmt.Sprintf("is %q", c.Kind), Hint: "file or postgres"}
}

// OpenStore opens the store of a state directory, for programs that read or copy it.
// Errors are those of package store.
func OpenStore(ctx context.Context, cfg Config) (store.DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if cfg.Store.Kind != StorePostgres {
		return store.OpenBolt(cfg.file(storeFile))
	}
	cfg.Store.Postgres.Logger = cfg.Logger.Named("store")
	return store.OpenPostgres(ctx, cfg.Store.Postgres)
}
