package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// programs runs the parts as processes of the real programs.
type programs struct {
	world *World
}

// writeConfig writes a program's file and makes its folder.
func writeConfig(dir, path string, cfg any) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

type section = map[string]any

// log is what every program is told about its log.
func (w *World) log() section { return section{"level": w.cfg.LogLevel} }

// accessLog keeps the addresses of a program's clients in its folder.
func (w *World) accessLog(dir string) section { return section{"dir": w.AccessLog(dir)} }

// AccessLog is the directory of a program's access log, with [Processes]; dir is the
// program's folder, e.g. "relay-1".
func (w *World) AccessLog(dir string) string { return w.path(dir, "access") }

func (p *programs) startPKI(ctx context.Context) (unit, error) {
	w := p.world
	dir, path := w.path("pki"), w.path("pki", "pki.yaml")
	server := section{"listen": w.pkiAddr, "enrol_per_minute": -1}
	if w.cfg.Names {
		acme := w.acmeConfig()
		server["acme_listen"] = w.acmeAddr
		var roles []section
		for _, r := range acme.Roles {
			roles = append(roles, section{"name": r.Name, "names": r.Names, "devices": r.Devices})
		}
		server["acme"] = section{"roles": roles, "dial": acme.Dial}
	}
	err := writeConfig(dir, path, section{
		"authority": section{"state_dir": w.path("pki", "state"), "trust_domain": string(w.cfg.TrustDomain), "plain_keys": true},
		"server":    server,
		"admin":     section{"listen": "unix:" + w.path("pki", "health.sock")}, "log": w.log(), "access_log": w.accessLog("pki"),
	})
	if err != nil {
		return nil, err
	}
	// A directory from before there were names gets what it lacks.
	if _, err := os.Stat(w.path("pki", "state", "server.pem")); errors.Is(err, fs.ErrNotExist) {
		if err := runProgram(ctx, w.cfg.Bin, "", "pki", "init", "--config", path); err != nil {
			return nil, err
		}
	}
	proc, err := startProcess(w.cfg.Bin, dir, "pki", "serve", "--config", path)
	if err != nil {
		return nil, err
	}
	return awaitReady(ctx, proc, w.path("pki", "health.sock"))
}

func (p *programs) startRelay(ctx context.Context, i int) (unit, error) {
	w := p.world
	dir, path := w.path(relayDir(i)), w.path(relayDir(i), "auerproxy.yaml")
	cfg := w.relayConfig(i)
	pki, _ := w.PKI()
	var names section
	if w.cfg.Names {
		c := w.namesConfig(i)
		names = section{
			"mode": string(c.Mode), "domains": c.Domains, "directory": c.Directory, "eab_file": string(c.EABFile), "storage": c.Storage,
		}
	}
	err := writeConfig(dir, path, section{
		"names":  names,
		"region": "DE", "credentials": w.path(relayDir(i), "credentials"), "pki": section{"url": pki},
		"relay": section{
			"listen": cfg.Listen, "state_dir": cfg.StateDir, "heartbeat": cfg.Heartbeat.String(), "ports": cfg.Ports,
			"policy": cfg.Policy, "drain": section{"deadline": cfg.Drain.Deadline.String()},
		},
		"admin": section{"listen": w.RelayAdmin(i)}, "log": w.log(), "access_log": w.accessLog(relayDir(i)),
		"shutdown_timeout": (cfg.Drain.Deadline + 10*time.Second).String(),
	})
	if err != nil {
		return nil, err
	}
	proc, err := startProcess(w.cfg.Bin, dir, "auerproxy", "serve", "--config", path)
	if err != nil {
		return nil, err
	}
	return awaitReady(ctx, proc, w.path(relayDir(i), "admin.sock"))
}

func (p *programs) startDevice(ctx context.Context, i int) (unit, error) {
	if p.world.cfg.Devices[i].PBX {
		return p.startPBX(ctx, i)
	}
	w, serial := p.world, p.world.Device(i)
	dir, path := w.path(deviceDir(serial)), w.path(deviceDir(serial), "auer-agent.yaml")
	cfg := w.agentConfig(i)
	pki, _ := w.PKI()
	services := make([]section, len(cfg.Services))
	for k, s := range cfg.Services {
		services[k] = section{"name": s.Name, "target": s.Target, "raw": s.Raw}
		if s.Identity != "" {
			services[k]["identity"] = s.Identity
		}
	}
	err := writeConfig(dir, path, section{
		"state_dir": dir, "pki": section{"url": pki, "trust_domain": string(w.cfg.TrustDomain)},
		"relays": cfg.Relays, "transport": cfg.Transport, "slots": cfg.Slots, "services": services, "timing": timing(cfg.Timing),
	})
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(w.path(deviceDir(serial), "credentials")); errors.Is(err, fs.ErrNotExist) {
		token, err := w.admin.Token(ctx, identity.Device(w.cfg.TrustDomain, serial), 0)
		if err != nil {
			return nil, err
		}
		if err := runProgram(ctx, w.cfg.Bin, token.Token, "auer-agent", "enrol", "--config", path, "--token-file", "-", "--roots", w.Roots()); err != nil {
			return nil, err
		}
	}
	return startProcess(w.cfg.Bin, dir, "auer-agent", "run", "--config", path)
}

// timing is what differs from the agent's defaults.
func timing(t agent.Timing) section {
	keys := section{}
	for key, d := range map[string]time.Duration{
		"backoff_base": t.BackoffBase, "backoff_cap": t.BackoffCap, "stable": t.Stable, "long_backoff": t.LongBackoff,
		"tcp_delay": t.TCPDelay, "reprobe_min": t.ReprobeMin, "reprobe_max": t.ReprobeMax,
	} {
		if d > 0 {
			keys[key] = d.String()
		}
	}
	return keys
}

func (p *programs) drain(ctx context.Context, i int) (d relay.Drained, err error) {
	err = ask(ctx, http.MethodPost, p.world.path(relayDir(i), "admin.sock"), "/v1/drain", &d)
	return d, err
}

func (p *programs) sessions(ctx context.Context, i int) (list []relay.SessionInfo, err error) {
	err = ask(ctx, http.MethodGet, p.world.path(relayDir(i), "admin.sock"), "/v1/sessions", &list)
	return list, err
}

// awaitReady waits until the program says at its admin socket that it is ready.
func awaitReady(ctx context.Context, proc *process, socket string) (unit, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ask(ctx, http.MethodGet, socket, "/readyz", nil) == nil {
			return proc, nil
		}
		select {
		case <-tick.C:
		case <-proc.ended:
			return nil, fmt.Errorf("%s ended before it was ready:\n%s", proc.name, proc.lastWords())
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s does not get ready: %w\n%s", proc.name, context.Cause(ctx), proc.lastWords()), proc.kill())
		}
	}
}

// ask sends one request to a unix socket. A nil answer is not read.
func ask(ctx context.Context, method, socket, path string, answer any) error {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
