package ca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// writers make changes in this process at the same time, so that they share commits.
const writers = 64

const actor = "bench"

// pki is ours.
type pki struct {
	program  string
	home     string
	database *database // nil: the store is a file
	tokens   sync.Map  // one-time token by [identity.ID]
}

func newPki(_ context.Context, dir string) (contestant, error) { return openPki(dir, nil) }

func (r *runner) newPostgres(_ context.Context, dir string) (contestant, error) {
	if r.database == nil {
		return nil, missingError{errors.New("not given: --postgres")}
	}
	return openPki(dir, r.database)
}

func openPki(dir string, db *database) (contestant, error) {
	program, err := process.Find("PKI", "pki")
	if err != nil {
		return nil, err
	}
	if program == "" {
		return nil, missingError{errors.New("not installed: pki (set PKI, or build it beside bench)")}
	}
	p := &pki{program: program, home: dir, database: db}
	_, err = authority.Init(p.config())
	if errors.Is(err, authority.ErrInitialised) {
		err = nil
	}
	return p, err
}

func (*pki) version(context.Context) string { return configs.Version() }
func (p *pki) dir() string                  { return p.home }
func (p *pki) path(elem ...string) string   { return filepath.Join(append([]string{p.home}, elem...)...) }

// config is that of "pki serve", for what is done in this process.
func (p *pki) config() authority.Config {
	c := authority.DefaultConfig()
	c.StateDir, c.PlainKeys = p.path("state"), true
	c.Limits.PerHour, c.Limits.PerDay = -1, -1
	if p.database != nil {
		c.Store.Kind, c.Store.Postgres.URL, c.Store.Postgres.Schema = authority.StorePostgres, p.database.url, p.database.schema
	}
	return c
}

// within does something with the authority in this process.
func (p *pki) within(f func(*authority.Authority) error) error {
	a, err := authority.New(p.config())
	if err != nil {
		return err
	}
	return errors.Join(f(a), a.Close())
}

func (p *pki) fill(ctx context.Context, certificates, revoked int, count *atomic.Int64) (perSecond float64, err error) {
	requests := make([][]byte, writers)
	for i := range requests {
		if _, requests[i], err = enrol.NewRequest(); err != nil {
			return 0, err
		}
	}
	return perSecond, p.within(func(a *authority.Authority) error {
		began := time.Now()
		err := parallel(certificates, writers, func(i int) error {
			_, err := a.Issue(ctx, deviceID(storedBase+int64(i)), requests[i%writers], profile.Extra{}, actor)
			count.Add(1)
			return err
		})
		if err != nil {
			return err
		}
		perSecond = float64(certificates) / max(time.Since(began).Seconds(), 1e-9)
		return parallel(revoked, writers, func(i int) error {
			_, err := a.Block(ctx, deviceID(storedBase+int64(i)), "measured", actor)
			return err
		})
	})
}

// evidence makes a one-time token for each.
func (p *pki) evidence(ctx context.Context, devices []device) error {
	return p.within(func(a *authority.Authority) error {
		return parallel(len(devices), writers, func(i int) error {
			t, err := a.Token(ctx, devices[i].id, 0, actor)
			p.tokens.Store(devices[i].id, t.Token)
			return err
		})
	})
}

func (p *pki) size() (int64, error) {
	if p.database != nil {
		return 0, nil
	}
	info, err := os.Stat(p.path("state", "pki.db"))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (p *pki) command(address string) (*exec.Cmd, error) {
	type section = map[string]any
	store := section{"kind": authority.StoreFile}
	if p.database != nil {
		store = section{"kind": authority.StorePostgres, "postgres": section{"url": p.database.url, "schema": p.database.schema}}
	}
	text, err := yaml.Marshal(section{
		"authority": section{
			"state_dir": p.path("state"), "plain_keys": true, "store": store, "limits": section{"per_hour": -1, "per_day": -1},
		},
		"server": section{"listen": address, "enrol_per_minute": -1},
		"admin":  section{"listen": "unix:" + p.path("health.sock")},
		"log":    section{"level": "warn"},
	})
	if err != nil {
		return nil, err
	}
	path := p.path("pki.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(p.program, "serve", "--config", path) //nolint:gosec,noctx // found by Find; stopped by Stop
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PKI_") { // would change its configuration
			cmd.Env = append(cmd.Env, kv)
		}
	}
	return cmd, nil
}

func (p *pki) client() (*tls.Config, error) {
	return trust(p.path("state"), identity.Service(trustDomain, enrol.ServiceName).DNSName())
}

// trust is for a client of a server with a name, whose root is in a state directory.
func trust(state, name string) (*tls.Config, error) {
	text, err := os.ReadFile(filepath.Join(state, "roots.pem")) //nolint:gosec // our own
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS13}, nil
}

func (*pki) health() string { return "/healthz" }

func (p *pki) ask(d device) (path string, body []byte, err error) {
	token, ok := p.tokens.LoadAndDelete(d.id)
	if !ok {
		return "", nil, fmt.Errorf("no token for %s", d.id)
	}
	body, err = json.Marshal(enrol.Request{Token: token.(string), CSR: string(d.csr)})
	return enrol.EnrolPath, body, err
}

func (*pki) answer(body []byte) ([]byte, error) {
	var issued enrol.Issued
	err := json.Unmarshal(body, &issued)
	return []byte(issued.Chain), err
}

func (*pki) crl() string { return "/crl/device.crl" }

// revoke blocks the device, and waits for another list.
func (p *pki) revoke(ctx context.Context, s *instance, leaf *x509.Certificate) error {
	id, err := identity.FromCert(leaf)
	if err != nil {
		return err
	}
	c := s.client()
	defer c.CloseIdleConnections()
	before, err := s.tag(ctx, c, p.crl())
	if err != nil {
		return err
	}
	admin := server.Admin{Socket: p.path("state", server.AdminSocketFile), Actor: actor}
	if _, err := admin.Block(ctx, id, "measured"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := s.tag(ctx, c, p.crl())
		if err != nil || now != before {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("no new list: %w", ctx.Err())
		}
	}
}

func (p *pki) backend() int {
	if p.database == nil {
		return 0
	}
	return p.database.postmaster
}

// tag gives the entity tag (RFC 9110 §8.8.3) of what is at a path.
func (s *instance) tag(ctx context.Context, c *http.Client, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.base+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	if err := resp.Body.Close(); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", statusError{resp.StatusCode, path}
	}
	return resp.Header.Get("ETag"), nil
}
