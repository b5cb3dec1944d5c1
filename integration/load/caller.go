package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// CallerName is the service that calls the devices; a relay's policy has to let
// service/load open web and echo.
const CallerName = "load"

// CallerConfig says whom a [Caller] calls. Relays, Certificates and Serials are
// needed.
type CallerConfig struct {
	Relays       []string
	Certificates Certificates
	// Transport is one of package dial. Default: dial.TransportAuto.
	Transport string
	// Serials are the devices to call, each with the same probability.
	Serials []identity.Serial
	// Services are what is called, each with the same probability: [ServiceWeb],
	// [ServiceEcho]. Default: both.
	Services []string
	// Seed decides which call goes where.
	Seed uint64
}

// Caller calls devices: a GET for the page of web, 64 bytes there and back for
// echo.
type Caller struct {
	cfg    CallerConfig
	dialer *dial.Dialer
	http   *http.Client
	idle   *http.Transport

	called sync.Map // place{}: called before, so that an end-to-end session may be there
}

// place is a service of a device.
type place struct {
	serial  identity.Serial
	service string
}

// NewCaller makes a caller. Close it.
func NewCaller(cfg CallerConfig) (*Caller, error) {
	if len(cfg.Serials) == 0 {
		return nil, errors.New("caller: no device to call")
	}
	if len(cfg.Services) == 0 {
		cfg.Services = []string{ServiceWeb, ServiceEcho}
	}
	for _, s := range cfg.Services {
		if s != ServiceWeb && s != ServiceEcho {
			return nil, fmt.Errorf("caller: service %q, want %s or %s", s, ServiceWeb, ServiceEcho)
		}
	}
	creds, err := cfg.Certificates.Credentials(identity.Service(cfg.Certificates.TrustDomain(), CallerName))
	if err != nil {
		return nil, fmt.Errorf("caller: %w", err)
	}
	d, err := dial.New(dial.Config{Relays: cfg.Relays, Transport: cfg.Transport, Credentials: creds, Program: "load"})
	if err != nil {
		return nil, err
	}
	tr := d.Transport()
	return &Caller{cfg: cfg, dialer: d, idle: tr, http: &http.Client{Transport: tr}}, nil
}

// Close ends the caller's sessions.
func (c *Caller) Close() error {
	c.idle.CloseIdleConnections()
	return c.dialer.Close()
}

// Call makes the n-th call; it is a [Call]. The kinds are the name of the service
// for a call in an end-to-end session that is there, and "web, first" for one that
// has to make it.
func (c *Caller) Call(ctx context.Context, n uint64) (string, error) {
	rng := newRand(c.cfg.Seed^n, streamCalls)
	p := place{c.cfg.Serials[rng.IntN(len(c.cfg.Serials))], c.cfg.Services[rng.IntN(len(c.cfg.Services))]}
	kind := p.service
	if _, again := c.called.LoadOrStore(p, true); !again {
		kind += ", first"
	}
	return kind, c.call(ctx, p)
}

// Warm calls every service of every device once, so that all the end-to-end
// sessions are there and a later call is no first one.
func (c *Caller) Warm(ctx context.Context) error {
	return inParallel(len(c.cfg.Serials)*len(c.cfg.Services), func(i int) error {
		p := place{c.cfg.Serials[i/len(c.cfg.Services)], c.cfg.Services[i%len(c.cfg.Services)]}
		if err := c.call(ctx, p); err != nil {
			return fmt.Errorf("%s of %s: %w", p.service, p.serial, err)
		}
		c.called.Store(p, true)
		return nil
	})
}

func (c *Caller) call(ctx context.Context, p place) error {
	if p.service == ServiceWeb {
		return c.get(ctx, p.serial)
	}
	return c.echo(ctx, p.serial)
}

func (c *Caller) get(ctx context.Context, serial identity.Serial) error {
	url := "https://" + c.dialer.Device(serial).DNSName() + "/"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || n != pageSize {
		return fmt.Errorf("status %s and %d bytes, want 200 and %d", resp.Status, n, pageSize)
	}
	return nil
}

// probe is what an echo call sends.
var probe = bytes.Repeat([]byte("0123456789abcdef"), 4)

func (c *Caller) echo(ctx context.Context, serial identity.Serial) error {
	conn, err := c.dialer.Open(ctx, dial.Call{Target: c.dialer.Device(serial), Service: ServiceEcho})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Reset(tunnel.CodeCancelled) })
	defer stop()
	_, err = conn.Write(probe)
	if err == nil {
		err = conn.CloseWrite()
	}
	var got []byte
	if err == nil {
		got, err = io.ReadAll(io.LimitReader(conn, int64(len(probe))+1))
	}
	if err = errors.Join(err, conn.Close()); err != nil {
		return err
	}
	if !bytes.Equal(got, probe) {
		return fmt.Errorf("%d bytes came back, want the %d that were sent", len(got), len(probe))
	}
	return nil
}
