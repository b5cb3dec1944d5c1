package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

const (
	// centreDir is the directory of the control centre, and centreRole its role at the
	// ACME server.
	centreDir  = "ccc"
	centreRole = "srv-ccc"
)

// Names of the control centre, one for each brand, which browsers resolve to loopback
// by themselves (RFC 6761 §6.3).
const (
	CentreName  = "ccc.localhost"
	FontevoName = "fontevo.localhost"
)

// Centre is the control centre of a world, as people find it.
type Centre struct {
	// URL is for a browser that trusts the world's roots, HTTP for any on this machine.
	URL, HTTP string
	// Email and PasswordFile are those of the first administrator.
	Email, PasswordFile string
}

// Centre tells where the control centre is, with [Config].Centre.
func (w *World) Centre() Centre {
	return Centre{
		URL: "https://" + CentreName + strings.TrimPrefix(w.centreTLS, "127.0.0.1"), HTTP: "http://" + w.centreHTTP,
		Email: firstAdmin, PasswordFile: w.path(centreDir, "first-password"),
	}
}

const firstAdmin = "admin@operator.test"

// CentreConfig is the file of the program ccc, for [Processes].
func (w *World) CentreConfig() string { return w.path(centreDir, "ccc.yaml") }

// prepareCentre makes what the control centre is given before its first start.
func (w *World) prepareCentre(ctx context.Context) error {
	if err := os.MkdirAll(w.path(centreDir), 0o700); err != nil {
		return err
	}
	if err := w.writeEAB(ctx, centreRole, centreDir); err != nil {
		return err
	}
	creds := w.path(centreDir, "credentials")
	if _, err := os.Stat(creds); err != nil {
		made, err := w.admin.Issue(ctx, identity.Service(w.cfg.TrustDomain, "ccc"), profile.Extra{})
		if err != nil {
			return err
		}
		if err := made.Save(creds); err != nil {
			return err
		}
	}
	key := w.path(centreDir, "key")
	if _, err := os.Stat(key); err == nil {
		return nil
	}
	return server.WriteSecret(key, seal.NewKey())
}

// centreConfig is what both kinds of world tell the control centre.
func (w *World) centreConfig() server.Config {
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.HTTPListen = w.centreTLS, w.centreHTTP
	cfg.Names = servercert.Config{
		Mode: servercert.ModeInternal, Domains: []string{CentreName, FontevoName},
		Directory: "https://" + w.acmeAddr + acmesrv.DirectoryPath(centreRole),
		EABFile:   configs.SecretFile(w.path(centreDir, "eab.json")), Storage: w.path(centreDir, "names"),
	}
	cfg.Dial.Relays = w.relays
	cfg.Store.Path = w.path(centreDir, "ccc.db")
	cfg.Keys = []configs.SecretFile{configs.SecretFile(w.path(centreDir, "key"))}
	cfg.Rollout.FirmwareDir, cfg.Rollout.FirmwareKeys = w.path(centreDir, "firmware"), []string{w.FirmwareKeys()}
	cfg.Account.SecondFactor, cfg.Remote.RequireSecondFactor = account.Offered, new(false) // tests sign in with the password
	if w.cfg.Gateway {
		cfg.Remote.ARAURL = w.Gateway().URL
	}
	cfg.Pages = w.cfg.CentrePages
	cfg.Brands = api.DefaultBrands()
	for i := range cfg.Brands {
		if cfg.Brands[i].ID == "fontevo" {
			cfg.Brands[i].Hosts = append(cfg.Brands[i].Hosts, FontevoName)
		}
	}
	cfg.FirstAdmin = server.FirstAdmin{File: w.path(centreDir, "first-password"), Email: firstAdmin, Tenant: "Musterfirma GmbH", Language: "en"}
	return cfg
}

// StartCentre starts the control centre at its old addresses and with its old state.
func (w *World) StartCentre(ctx context.Context) error {
	return w.start(centreDir, w.centre, 0, func() (unit, error) { return w.starter.startCentre(ctx) })
}

// StopCentre stops the control centre as SIGTERM does.
func (w *World) StopCentre(ctx context.Context) error {
	return w.end(centreDir, w.centre, 0, func(u unit) error { return u.stop(ctx) })
}

// KillCentre ends the control centre as SIGKILL does, with [Processes].
func (w *World) KillCentre() error { return w.end(centreDir, w.centre, 0, unit.kill) }

func (p *inProcess) startCentre(ctx context.Context) (unit, error) {
	w := p.world
	creds, err := enrol.LoadCredentials(w.path(centreDir, "credentials"))
	if err != nil {
		return nil, err
	}
	p.use(centreDir, creds)
	log := w.cfg.Logger.Named(centreDir)
	d, err := daemon.New(daemon.Config{
		Admin: daemon.AdminConfig{Listen: "unix:" + w.path(centreDir, "admin.sock")}, Log: daemon.LogConfig{Level: "off"},
		KeepMemory: true, GCPercent: -1, HeapFloor: -1, ShutdownTimeout: closeTimeout,
	}, "ccc")
	if err != nil {
		return nil, err
	}
	cfg := w.centreConfig()
	if err := configs.Load(&cfg, configs.Source{Set: w.cfg.CentreSet, Env: []string{}}); err != nil {
		return nil, err
	}
	cfg.Credentials, cfg.Logger = creds, log
	s, _, err := server.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	pki, _ := w.PKI()
	feed, err := blocks.New(blocks.Config{URL: pki, Credentials: creds, Logger: log.Named("blocks")})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	parts := append([]daemon.Component{{Name: "blocks", Ready: feed.Loaded(), Run: func(ctx context.Context) error {
		return feed.Run(ctx, s.SetBlocks)
	}}}, s.Components()...)
	t := startTask(func(ctx context.Context) error { return errors.Join(d.Run(ctx, parts...), s.Close()) })
	return await(ctx, t, d.Started())
}

func (p *programs) startCentre(ctx context.Context) (unit, error) {
	w := p.world
	cfg := w.centreConfig()
	pki, _ := w.PKI()
	brands := make([]section, len(cfg.Brands))
	for i, b := range cfg.Brands {
		brands[i] = section{"id": b.ID, "name": b.Name, "legal": b.Legal, "hosts": b.Hosts}
	}
	err := writeConfig(w.path(centreDir), w.CentreConfig(), section{
		"region": "DE", "credentials": w.path(centreDir, "credentials"),
		"pki":    section{"url": pki, "cache_file": w.path(centreDir, "blocks.json")},
		"listen": cfg.Listen, "http_listen": cfg.HTTPListen,
		"names": section{
			"mode": string(cfg.Names.Mode), "domains": cfg.Names.Domains, "directory": cfg.Names.Directory,
			"eab_file": string(cfg.Names.EABFile), "storage": cfg.Names.Storage,
		},
		"dial": section{"relays": cfg.Dial.Relays}, "store": section{"path": cfg.Store.Path}, "keys": cfg.Keys, "brands": brands,
		"statistics":  section{"sources": w.countingServers()},
		"first_admin": section{"file": cfg.FirstAdmin.File, "email": cfg.FirstAdmin.Email, "tenant": cfg.FirstAdmin.Tenant, "language": string(cfg.FirstAdmin.Language)},
		"admin":       section{"listen": "unix:" + w.path(centreDir, "admin.sock")}, "log": w.log(), "access_log": w.accessLog(centreDir),
		"account": section{"second_factor": string(cfg.Account.SecondFactor)}, "remote": section{"require_second_factor": *cfg.Remote.RequireSecondFactor, "ara_url": cfg.Remote.ARAURL},
		"rollout":          section{"firmware_dir": cfg.Rollout.FirmwareDir, "firmware_keys": cfg.Rollout.FirmwareKeys},
		"shutdown_timeout": (10 * time.Second).String(),
	})
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--config", w.CentreConfig()}
	for _, set := range w.cfg.CentreSet {
		args = append(args, "--set", set)
	}
	proc, err := startProcess(w.cfg.Bin, w.path(centreDir), "ccc", args...)
	if err != nil {
		return nil, err
	}
	return awaitReady(ctx, proc, w.path(centreDir, "admin.sock"))
}

// countingServers are the other servers, which count accesses, for [Processes].
func (w *World) countingServers() []section {
	all := []section{{"name": "pki", "url": "unix:" + w.path("pki", "health.sock")}}
	for i := range w.relays {
		all = append(all, section{"name": relayDir(i), "url": w.RelayAdmin(i)})
	}
	if w.cfg.Gateway {
		all = append(all, section{"name": gatewayDir, "url": "unix:" + w.path(gatewayDir, "admin.sock")})
	}
	return all
}

// AdminPassword is the first administrator's.
func (c Centre) AdminPassword() (string, error) {
	text, err := configs.SecretFile(c.PasswordFile).Read()
	if err != nil {
		return "", fmt.Errorf("first administrator: %w", err)
	}
	return string(text), nil
}
