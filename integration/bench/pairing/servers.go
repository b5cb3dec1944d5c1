package pairing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// servers are the two programs.
type servers struct {
	relay, centre        *process.Process
	relayAddr, centreURL string
	password             string // file
}

const email = "admin@operator.test"

type section = map[string]any

func startServers(ctx context.Context, o Options, ca *pkitest.CA, dir string) (s *servers, err error) {
	ports, err := process.FreePorts("127.0.0.1", 4)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	s = &servers{relayAddr: at(0), centreURL: "http://" + at(1), password: filepath.Join(dir, "first-password")}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	file := func(name string) string { return filepath.Join(dir, name) }
	err = errors.Join(
		ca.Write(file("relay"), identity.Relay(td, "r1")), ca.Write(file("centre"), identity.Service(td, "ccc")),
		server.WriteSecret(file("key"), seal.NewKey()),
		writeJSON(file("auerproxy.yaml"), section{
			"region": "DE", "credentials": file("relay"), "admin": section{"listen": at(2)}, "log": section{"level": "warn"},
			"relay": section{
				"listen": s.relayAddr, "policy": []section{
					{"caller": "service/ccc", "target": "device", "services": []string{"*"}},
					{"caller": "service/ccc", "target": "relay", "services": []string{"presence"}},
					{"caller": "device", "target": "service/ccc", "services": []string{"*"}},
				},
			},
		}),
		writeJSON(file("ccc.yaml"), section{
			"region": "DE", "credentials": file("centre"), "admin": section{"listen": at(3)}, "log": section{"level": "warn"},
			"http_listen": at(1), "dial": section{"relays": []string{s.relayAddr}}, "store": section{"path": file("ccc.db")}, "keys": []string{file("key")},
			"first_admin": section{"file": s.password, "email": email, "tenant": "Musterfirma GmbH", "language": "en"},
			"pairing":     section{"offers_per_hour": 1_000_000}, "api": section{"limits": section{"requests": 1_000_000}},
		}))
	if err != nil {
		return s, err
	}
	if s.relay, err = process.Start(exec.CommandContext(ctx, o.Relay, "serve", "--config", file("auerproxy.yaml")), "auerproxy"); err != nil {
		return s, err
	}
	if s.centre, err = process.Start(exec.CommandContext(ctx, o.Centre, "serve", "--config", file("ccc.yaml")), "ccc"); err != nil {
		return s, err
	}
	ready := func(p *process.Process, addr string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		err := poll(ctx, func() (bool, error) {
			select {
			case <-p.Ended():
				return false, errors.New("it has ended")
			default:
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
			if err != nil {
				return false, err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return false, nil //nolint:nilerr // not yet
			}
			return resp.StatusCode == http.StatusOK, resp.Body.Close()
		})
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.Said())
		}
		return nil
	}
	return s, errors.Join(ready(s.relay, at(2)), ready(s.centre, at(3)))
}

func (s *servers) stop() {
	for _, p := range []*process.Process{s.centre, s.relay} {
		if p != nil {
			p.Stop()
		}
	}
}

// usages are what both cost.
type usages struct{ centre, relay load.Usage }

func (s *servers) usage() (u usages, err error) {
	if u.centre, err = s.centre.Usage(); err != nil {
		return u, err
	}
	u.relay, err = s.relay.Usage()
	return u, err
}
