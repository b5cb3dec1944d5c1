package authority

import (
	"errors"
	"fmt"
	"os"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// ErrNoServerAuthority: the state directory was made before there was an
// intermediate for the names of servers. [InitServer] makes it.
var ErrNoServerAuthority = errors.New("no intermediate for the names of servers")

// InitServer makes the intermediate for the names of servers in a state directory
// that [Init] made without one; it needs the root's key there. It gives the
// intermediate's fingerprint, and [ErrInitialised] where there is one.
func InitServer(cfg Config) (fingerprint string, err error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	cfg = cfg.withDefaults()
	r, err := cfg.role(profile.ServerAuthority)
	if err != nil {
		return "", err
	}
	if path := cfg.file(r.file(1) + certExt); exists(path) {
		return "", fmt.Errorf("%w: %s", ErrInitialised, path)
	}
	roots, err := cfg.readRoots()
	if err != nil {
		return "", err
	}
	pass, err := cfg.passphrase()
	if err != nil {
		return "", err
	}
	rootKey, err := cfg.readKey(rootKeyFile, pass)
	if err != nil {
		return "", err
	}
	if !enrol.SameKey(rootKey.Public(), roots[0].PublicKey) {
		return "", fmt.Errorf("%w: %s is not the key of the first root", ErrKeys, cfg.file(rootKeyFile))
	}
	return cfg.makeIssuer(r, roots[0], rootKey, pass)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ServerIssuer is the active intermediate for the names of servers. Without one it
// fails with [ErrNoServerAuthority].
func (a *Authority) ServerIssuer() (Issuer, error) {
	for _, i := range a.Issuers() {
		if i.Role == profile.ServerAuthority && i.Active {
			return i, nil
		}
	}
	return Issuer{}, fmt.Errorf("%w in %s", ErrNoServerAuthority, a.cfg.StateDir)
}
