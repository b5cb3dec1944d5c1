// Package cloud is a whole cloud for a fleet of PBXs, and somebody who uses it: relay and
// control centre as the real programs with settings of their own, and a client of the
// control centre's API that pairs PBXs.
//
//	c, err := cloud.Start(ctx, cloud.Config{Programs: programs, Credentials: certs, Dir: dir})
//	defer c.Stop()
//	someone, err := cloud.SignIn(ctx, c.Access)
//	err = someone.Pair(ctx, live, pbx, "Praxis 1", nil)
package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Programs are the paths of both.
type Programs struct{ Relay, Centre string }

// FindPrograms looks for auerproxy and ccc beside this program, in PATH, and where the
// variables AUERPROXY and CCC point.
func FindPrograms() (p Programs, err error) {
	for _, of := range []struct {
		variable, name string
		path           *string
	}{{"AUERPROXY", "auerproxy", &p.Relay}, {"CCC", "ccc", &p.Centre}} {
		if *of.path, err = process.Find(of.variable, of.name); err != nil {
			return p, err
		}
		if *of.path == "" {
			return p, &cli.Hint{
				Err:  fmt.Errorf("the program %s is not installed", of.name),
				Hint: `"make build" makes it; or say where it is with ` + of.variable + "=PATH",
			}
		}
	}
	return p, nil
}

// The names under which the parts have their certificates.
const (
	RelayName  = "sim"
	CentreName = "ccc"
)

// Identities are those of the parts, for [load.WriteDir].
func Identities(td identity.TrustDomain) []identity.ID {
	return []identity.ID{identity.Relay(td, RelayName), identity.Service(td, CentreName)}
}

// Config says what a cloud is made of. All is needed.
type Config struct {
	Programs
	// Credentials is a directory with those of the [Identities], as of [load.FromDir].
	Credentials string
	TrustDomain identity.TrustDomain
	// Dir keeps settings, the database and its key. A cloud that starts again with it
	// knows what it knew.
	Dir string
	// DatabaseURLFile holds the URL of a PostgreSQL database. Empty: SQLite, in Dir.
	DatabaseURLFile string
}

// Store gives where the control centre of a cloud keeps everything.
func (c Config) Store() store.Config {
	cfg := store.DefaultConfig()
	if c.DatabaseURLFile != "" {
		cfg.Engine, cfg.URLFile = store.Postgres, configs.SecretFile(c.DatabaseURLFile)
	} else {
		cfg.Path = filepath.Join(c.Dir, "ccc.db")
	}
	return cfg
}

// Access is where a control centre is and who signs in there.
type Access struct {
	// URL is http://host:port or https://host:port.
	URL   string
	Email string
	// PasswordFile holds the password in its first line.
	PasswordFile string
}

// Cloud is a relay and a control centre that run.
type Cloud struct {
	relay, centre *process.Process

	// Relay is the relay's address, host:port.
	Relay string
	Access
}

type section = map[string]any

// Start starts both programs at free ports of the loopback, and returns when they serve.
// They end with this process, where the system can do that.
func Start(ctx context.Context, cfg Config) (c *Cloud, err error) {
	ports, err := process.FreePorts("127.0.0.1", 4)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	file := func(name string) string { return filepath.Join(cfg.Dir, name) }
	db := cfg.Store()
	own := func(id identity.ID) string { return filepath.Join(cfg.Credentials, filepath.FromSlash(id.Path())) }
	c = &Cloud{Relay: at(0), Access: Access{URL: "http://" + at(1), Email: "admin@operator.test", PasswordFile: file("first-password")}}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	err = errors.Join(
		os.MkdirAll(cfg.Dir, 0o700), writeKey(file("key")),
		writeJSON(file("auerproxy.yaml"), section{
			"region": "DE", "credentials": own(identity.Relay(cfg.TrustDomain, RelayName)),
			"admin": section{"listen": at(2)}, "log": section{"level": "warn"},
			"relay": section{
				"listen": c.Relay, "policy": []section{
					{"caller": "service/ccc", "target": "device", "services": []string{"*"}},
					{"caller": "service/ccc", "target": "relay", "services": []string{"presence"}},
					{"caller": "device", "target": "service/ccc", "services": []string{"*"}},
				},
			},
		}),
		writeJSON(file("ccc.yaml"), section{
			"region": "DE", "credentials": own(identity.Service(cfg.TrustDomain, CentreName)),
			"admin": section{"listen": at(3)}, "log": section{"level": "warn"},
			"http_listen": at(1), "dial": section{"relays": []string{c.Relay}}, "store": section{"engine": db.Engine, "path": db.Path, "url_file": db.URLFile}, "keys": []string{file("key")},
			"first_admin": section{"file": c.PasswordFile, "email": c.Email, "tenant": "Musterfirma GmbH", "language": "en"},
			// One person does here in a minute what a thousand do in a day.
			"account": section{"second_factor": "offered"}, // who signs in here is a program
			"pairing": section{"offers_per_hour": 1_000_000, "offers_per_serial": 1_000_000}, "api": section{"limits": section{"requests": 1_000_000, "network_requests": 1_000_000}},
		}))
	if err != nil {
		return c, err
	}
	if c.relay, err = start(ctx, cfg.Programs.Relay, "auerproxy", file("auerproxy.yaml")); err != nil {
		return c, err
	}
	if c.centre, err = start(ctx, cfg.Programs.Centre, "ccc", file("ccc.yaml")); err != nil {
		return c, err
	}
	return c, errors.Join(c.relay.AwaitReady(ctx, "http://"+at(2)+"/readyz"), c.centre.AwaitReady(ctx, "http://"+at(3)+"/readyz"))
}

func start(ctx context.Context, program, name, config string) (*process.Process, error) {
	cmd := exec.CommandContext(ctx, program, "serve", "--config", config) //nolint:gosec // the program that the user has
	cmd.SysProcAttr = bound()
	return process.Start(cmd, name)
}

// writeKey makes the key of the database, where there is none yet.
func writeKey(path string) error {
	err := server.WriteSecret(path, seal.NewKey())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// writeJSON writes a configuration; YAML takes JSON.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// Stop ends both programs, and returns when they have ended.
func (c *Cloud) Stop() {
	for _, p := range []*process.Process{c.centre, c.relay} {
		if p != nil {
			p.Stop()
		}
	}
}

// Usage is what both programs cost.
type Usage struct{ Relay, Centre load.Usage }

// Usage reads what both cost; on Linux only.
func (c *Cloud) Usage() (u Usage, err error) {
	if u.Centre, err = c.centre.Usage(); err != nil {
		return u, err
	}
	u.Relay, err = c.relay.Usage()
	return u, err
}

// pollEvery is how often a state is looked at that is not told.
const pollEvery = 50 * time.Millisecond

// Poll calls f until it says that it is done, or gives an error.
func Poll(ctx context.Context, f func() (done bool, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := f(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
