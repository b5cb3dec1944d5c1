package world

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/tlsend"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// PBX is a device of a world as its administrator finds it, where that is one.
type PBX struct {
	// URL is that of its pages and its API, on this machine.
	URL string
	// PasswordFile holds the first password of the user admin.
	PasswordFile string
}

// FirstPassword is the administrator's until he changes it; then it is said so instead.
func (p PBX) FirstPassword() (string, error) {
	text, err := configs.SecretFile(p.PasswordFile).Read()
	if errors.Is(err, fs.ErrNotExist) {
		return "(changed)", nil
	}
	return string(text), err
}

// PBX tells where device i is; nothing where it is not a PBX.
func (w *World) PBX(i int) PBX {
	if w.pages[i] == "" {
		return PBX{}
	}
	return PBX{URL: "http://" + w.pages[i], PasswordFile: w.path(deviceDir(w.Device(i)), "first-password")}
}

func (p *inProcess) startPBX(ctx context.Context, i int, tunnel agent.Config) (unit, error) {
	w := p.world
	keys, err := firmware.ReadKeys(w.FirmwareKeys())
	if err != nil {
		return nil, err
	}
	one, err := pbx.New(pbx.Config{
		Dir: w.path(deviceDir(w.Device(i))), Credentials: tunnel.Credentials, Agent: tunnel, Logger: tunnel.Logger, TLSEnd: w.tlsEnd(i),
		FirmwareKeys: keys, Fault: w.cfg.Devices[i].Fault, Limits: pbx.Limits{Restart: pbxRestart, Install: pbxInstall},
	})
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", w.pages[i])
	if err != nil {
		return nil, err
	}
	return startTask(func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		srv := one.Server()
		stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
		defer stop()
		g.Go(func() error { return one.Run(ctx) })
		g.Go(func() error {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		return g.Wait()
	}), nil
}

// tlsEnd is what a PBX is told about TLS that ends in it, with a gateway.
func (w *World) tlsEnd(i int) tlsend.Config {
	if !w.cfg.Gateway {
		return tlsend.Config{}
	}
	return tlsend.Config{
		Domain: PBXDomain, Mode: servercert.ModeInternal, Directory: "https://" + w.acmeAddr + acmesrv.DirectoryPath(pbxRole),
		Key: func(ctx context.Context) (keyID, hmacKey string, err error) {
			eab, err := w.admin.EAB(ctx, pbxRole, w.Device(i))
			return eab.KeyID, eab.HMACKey, err
		},
	}
}

func (p *programs) startPBX(ctx context.Context, i int) (unit, error) {
	w, serial := p.world, p.world.Device(i)
	dir, path := w.path(deviceDir(serial)), w.path(deviceDir(serial), "pbx.yaml")
	cfg := w.agentConfig(i)
	pki, _ := w.PKI()
	about := section{"url": pki, "trust_domain": string(w.cfg.TrustDomain), "roots": w.Roots()}
	if _, err := os.Stat(w.path(deviceDir(serial), "credentials")); errors.Is(err, fs.ErrNotExist) {
		token, err := w.admin.Token(ctx, identity.Device(w.cfg.TrustDomain, serial), 0)
		if err != nil {
			return nil, err
		}
		file := w.path(deviceDir(serial), "token")
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte(token.Token+"\n"), 0o600)); err != nil {
			return nil, err
		}
		about["token_file"] = file
	}
	end := w.tlsEnd(i)
	err := writeConfig(dir, path, section{
		"firmware_keys": []string{w.FirmwareKeys()},
		"maintenance":   section{"restart": pbxRestart.String(), "install": pbxInstall.String(), "fault": string(w.cfg.Devices[i].Fault)},
		"tls":           section{"domain": end.Domain, "directory": end.Directory},
		"state_dir":     dir, "listen": w.pages[i], "pki": about,
		"relays": cfg.Relays, "transport": cfg.Transport, "slots": cfg.Slots, "timing": timing(cfg.Timing), "log": w.log(),
	})
	if err != nil {
		return nil, err
	}
	return startProcess(w.cfg.Bin, dir, "pbx", "run", "--config", path)
}
