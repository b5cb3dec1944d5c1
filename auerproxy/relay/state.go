package relay

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// resetKeyFile keeps the key with which the relay proves, after a restart, that
// it no longer knows a QUIC connection (RFC 9000 §10.3). With the same key as
// before, devices notice a restart at their next heartbeat and not at the idle
// timeout.
const resetKeyFile = "stateless-reset.key"

const resetKeyLen = 32

func (r *Relay) statelessResetKey() (*[resetKeyLen]byte, error) {
	key := new([resetKeyLen]byte)
	_, _ = rand.Read(key[:]) // crypto/rand never fails since Go 1.24
	if r.cfg.StateDir == "" {
		return key, nil
	}
	if err := os.MkdirAll(r.cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("relay: state_dir: %w", err)
	}
	path := filepath.Join(r.cfg.StateDir, resetKeyFile)
	have, err := os.ReadFile(path) //nolint:gosec // a fixed name in a configured directory
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(path, key[:], 0o600); err != nil {
			return nil, fmt.Errorf("relay: stateless-reset key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("relay: stateless-reset key: %w", err)
	}
	if len(have) != resetKeyLen {
		return nil, fmt.Errorf("relay: %s has %d bytes, want %d; delete it to have a new one made", path, len(have), resetKeyLen)
	}
	copy(key[:], have)
	return key, nil
}
