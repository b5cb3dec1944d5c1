package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Finding is something about a state directory that its owner should know.
type Finding struct {
	// Severe: the authority does not start, or does not do what is configured.
	Severe  bool   `json:"severe"`
	Problem string `json:"problem"`
	Hint    string `json:"hint,omitempty"`
}

// Check looks at the state directory as the configuration describes it. It changes
// nothing and does not open the store, so it can be used while the authority runs.
func Check(cfg Config, now time.Time) []Finding {
	cfg = cfg.withDefaults()
	info, err := os.Stat(cfg.StateDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{{Problem: "there is no PKI in " + cfg.StateDir + " yet", Hint: "make one with: pki init"}}
	case err != nil:
		return []Finding{{Severe: true, Problem: err.Error()}}
	case !info.IsDir():
		return []Finding{{Severe: true, Problem: cfg.StateDir + " is no directory", Hint: "set authority.state_dir"}}
	}
	var found []Finding
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		found = append(found, Finding{
			Problem: fmt.Sprintf("other users can enter %s (mode %04o)", cfg.StateDir, mode), Hint: "chmod 0700 " + cfg.StateDir,
		})
	}
	_, err = cfg.readRoots()
	if errors.Is(err, ErrNotInitialised) {
		return append(found, Finding{Problem: "there is no PKI in " + cfg.StateDir + " yet", Hint: "make one with: pki init"})
	}
	var issuers []*Issuer
	if err == nil {
		issuers, err = cfg.readIssuers(nil)
	}
	if err != nil {
		return append(found, Finding{Severe: true, Problem: err.Error(), Hint: loadHint(err)})
	}
	for n, i := range issuers {
		kind, err := identity.ParseKind(i.Role)
		if newest := n == 0 || issuers[n-1].Role != i.Role; newest && err == nil {
			found = append(found, cfg.checkIssuer(kind, i.Certificate, now)...)
		}
	}
	return append(found, cfg.checkSecrets()...)
}

func loadHint(err error) string {
	switch {
	case errors.Is(err, configs.ErrExposed):
		return "chmod 0600 the file"
	case errors.Is(err, fs.ErrNotExist):
		return "restore the file from the backup"
	case errors.Is(err, ErrKeys):
		return "authority.trust_domain, plain_keys and passphrase_file have to be as at \"pki init\""
	default:
		return ""
	}
}

func (c Config) checkIssuer(kind identity.Kind, cert *x509.Certificate, now time.Time) (found []Finding) {
	left := cert.NotAfter.Sub(now)
	const newOne = "make a new intermediate with the root's key"
	switch life := c.Lifetimes.of(kind); {
	case left <= leastLife:
		found = append(found, Finding{Severe: true, Problem: fmt.Sprintf("the %s intermediate expired at %s", kind, cert.NotAfter.Format(time.RFC3339)), Hint: newOne})
	case left < life:
		found = append(found, Finding{
			Problem: fmt.Sprintf("the %s intermediate expires at %s: certificates are shorter than lifetimes.%s", kind, cert.NotAfter.Format(time.RFC3339), kind),
			Hint:    newOne,
		})
	}
	if kind == identity.KindDevice {
		return found
	}
	for _, name := range c.ExtraDNS {
		if !slices.Contains(cert.PermittedDNSDomains, name) {
			found = append(found, Finding{
				Severe:  true,
				Problem: fmt.Sprintf("authority.extra_dns has %s, which the %s intermediate does not permit (it permits %s)", name, kind, strings.Join(cert.PermittedDNSDomains, ", ")),
				Hint:    "the names are fixed when the intermediate is made",
			})
		}
	}
	return found
}

// checkSecrets looks at the files that somebody else must not have.
func (c Config) checkSecrets() (found []Finding) {
	entries, err := os.ReadDir(c.StateDir)
	if err != nil {
		return []Finding{{Severe: true, Problem: err.Error()}}
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // it has gone in the meantime
		}
		secret := strings.HasSuffix(e.Name(), ".key") || e.Name() == storeFile || e.Name() == passphraseFile
		if mode := info.Mode().Perm(); secret && mode&0o077 != 0 {
			found = append(found, Finding{
				Severe: true, Problem: fmt.Sprintf("other users can read %s (mode %04o)", c.file(e.Name()), mode), Hint: "chmod 0600 " + c.file(e.Name()),
			})
		}
	}
	if _, err := os.Stat(c.file(rootKeyFile)); err == nil {
		found = append(found, Finding{Problem: "the root's key is in " + c.file(rootKeyFile), Hint: "serving does not need it: move it to a safe, offline place"})
	}
	switch {
	case c.PlainKeys:
		found = append(found, Finding{Problem: "the keys are not encrypted", Hint: "authority.plain_keys is for state that is thrown away"})
	case string(c.PassphraseFile) == c.file(passphraseFile):
		found = append(found, Finding{Problem: "the passphrase is beside the keys, so a copy of the directory has both", Hint: "set authority.passphrase_file to a systemd credential or another disk"})
	}
	return found
}
