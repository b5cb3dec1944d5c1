package world

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ara/server"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

const (
	// gatewayDir is the directory of the gateway, and gatewayRole its role at the ACME
	// server.
	gatewayDir  = "ara"
	gatewayRole = "srv-ara"
	// pbxRole is that of PBXs there.
	pbxRole = "srv-pbx"
)

// PBXDomain is what the PBXs' own names are one label below, in sessions that are
// encrypted end to end.
const PBXDomain = "pbx." + GatewayName

// GatewayName is the domain of the gateway; sessions are one label below it. Browsers
// resolve both to loopback by themselves (RFC 6761 §6.3), and take it for another site
// than the control centre's.
const GatewayName = "ara.localhost"

// Gateway is the gateway for remote access as browsers that trust the world's roots find
// it.
type Gateway struct {
	// URL is that of the gateway itself, Addr where it listens, by TCP and UDP.
	URL, Addr string
}

// Gateway tells where the gateway is, with [Config].Gateway.
func (w *World) Gateway() Gateway {
	return Gateway{URL: "https://" + net.JoinHostPort(GatewayName, w.gatewayPort()), Addr: w.gatewayAddr}
}

func (w *World) gatewayPort() string {
	_, port, _ := net.SplitHostPort(w.gatewayAddr) // w.ports has made it
	return port
}

// prepareGateway makes what the gateway is given before its first start.
func (w *World) prepareGateway(ctx context.Context) error {
	if err := os.MkdirAll(w.path(gatewayDir), 0o700); err != nil {
		return err
	}
	if err := w.writeEAB(ctx, gatewayRole, gatewayDir); err != nil {
		return err
	}
	creds := w.path(gatewayDir, "credentials")
	if _, err := os.Stat(creds); err == nil {
		return nil
	}
	made, err := w.admin.Issue(ctx, identity.Service(w.cfg.TrustDomain, "ara"), profile.Extra{})
	if err != nil {
		return err
	}
	return made.Save(creds)
}

// gatewayConfig is what both kinds of world tell the gateway.
func (w *World) gatewayConfig() (server.Config, error) {
	cfg := server.DefaultConfig()
	port, err := strconv.Atoi(w.gatewayPort())
	if err != nil {
		return cfg, err
	}
	cfg.Listen = w.gatewayAddr
	cfg.Gateway.Domain, cfg.Gateway.PublicPort, cfg.Gateway.CCCURL = GatewayName, port, "https://"+CentreName
	cfg.Gateway.PBXDomain = PBXDomain
	if w.cfg.Centre {
		cfg.Gateway.CCCURL = w.Centre().URL
	}
	cfg.Names = servercert.Config{
		Mode: servercert.ModeInternal, Domains: []string{GatewayName},
		Directory: "https://" + w.acmeAddr + acmesrv.DirectoryPath(gatewayRole),
		EABFile:   configs.SecretFile(w.path(gatewayDir, "eab.json")), Storage: w.path(gatewayDir, "names"),
	}
	cfg.Dial.Relays = w.relays
	return cfg, nil
}

// StartGateway starts the gateway at its old address.
func (w *World) StartGateway(ctx context.Context) error {
	return w.start(gatewayDir, w.gateway, 0, func() (unit, error) { return w.starter.startGateway(ctx) })
}

// StopGateway stops the gateway as SIGTERM does.
func (w *World) StopGateway(ctx context.Context) error {
	return w.end(gatewayDir, w.gateway, 0, func(u unit) error { return u.stop(ctx) })
}

// KillGateway ends the gateway as SIGKILL does, with [Processes].
func (w *World) KillGateway() error { return w.end(gatewayDir, w.gateway, 0, unit.kill) }

func (p *inProcess) startGateway(ctx context.Context) (unit, error) {
	w := p.world
	creds, err := enrol.LoadCredentials(w.path(gatewayDir, "credentials"))
	if err != nil {
		return nil, err
	}
	p.use(gatewayDir, creds)
	d, err := daemon.New(daemon.Config{
		Admin: daemon.AdminConfig{Listen: "unix:" + w.path(gatewayDir, "admin.sock")}, Log: daemon.LogConfig{Level: "off"},
		KeepMemory: true, GCPercent: -1, HeapFloor: -1, ShutdownTimeout: closeTimeout,
	}, "ara")
	if err != nil {
		return nil, err
	}
	cfg, err := w.gatewayConfig()
	if err != nil {
		return nil, err
	}
	cfg.Credentials, cfg.Logger = creds, w.cfg.Logger.Named(gatewayDir)
	s, err := server.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t := startTask(func(ctx context.Context) error { return errors.Join(d.Run(ctx, s.Components()...), s.Close()) })
	return await(ctx, t, d.Started())
}

func (p *programs) startGateway(ctx context.Context) (unit, error) {
	w := p.world
	cfg, err := w.gatewayConfig()
	if err != nil {
		return nil, err
	}
	pki, _ := w.PKI()
	path := w.path(gatewayDir, "ara.yaml")
	err = writeConfig(w.path(gatewayDir), path, section{
		"region": "DE", "credentials": w.path(gatewayDir, "credentials"), "pki": section{"url": pki},
		"domain": cfg.Gateway.Domain, "pbx_domain": cfg.Gateway.PBXDomain, "public_port": cfg.Gateway.PublicPort, "ccc_url": cfg.Gateway.CCCURL, "listen": cfg.Listen,
		"names": section{
			"mode": string(cfg.Names.Mode), "domains": cfg.Names.Domains, "directory": cfg.Names.Directory,
			"eab_file": string(cfg.Names.EABFile), "storage": cfg.Names.Storage,
		},
		"dial":  section{"relays": cfg.Dial.Relays},
		"admin": section{"listen": "unix:" + w.path(gatewayDir, "admin.sock")}, "log": w.log(), "access_log": w.accessLog(gatewayDir),
		"shutdown_timeout": (10 * time.Second).String(),
	})
	if err != nil {
		return nil, err
	}
	proc, err := startProcess(w.cfg.Bin, w.path(gatewayDir), "ara", "serve", "--config", path)
	if err != nil {
		return nil, err
	}
	return awaitReady(ctx, proc, w.path(gatewayDir, "admin.sock"))
}
