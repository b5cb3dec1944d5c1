package world

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// ErrRunning: the part to be started runs already.
var ErrRunning = errors.New("it runs already")

// starter starts the parts of one kind of world.
type starter interface {
	// startPKI returns when the PKI's admin socket answers.
	startPKI(ctx context.Context) (unit, error)
	// startRelay returns when both listeners of relay i accept.
	startRelay(ctx context.Context, i int) (unit, error)
	// startCentre returns when the control centre is ready.
	startCentre(ctx context.Context) (unit, error)
	// startGateway returns when the gateway is ready.
	startGateway(ctx context.Context) (unit, error)
	// startDevice starts device i, which connects by itself.
	startDevice(ctx context.Context, i int) (unit, error)
	// drain empties relay i.
	drain(ctx context.Context, i int) (relay.Drained, error)
	// sessions lists the sessions of relay i.
	sessions(ctx context.Context, i int) ([]relay.SessionInfo, error)
}

// World is a running cloud. Make it with [Start], end it with [World.Close]; the
// methods may be called by several goroutines, but not two at the same time about
// the same relay or device.
type World struct {
	cfg      Config
	starter  starter
	admin    server.Admin
	roots    []*x509.Certificate
	pkiAddr  string
	acmeAddr string     // with Names
	relays   []string   // addresses
	targets  []*targets // by device; nil for PBXs
	pages    []string   // addresses of PBXs' pages, by device
	// Addresses of the control centre, with Centre.
	centreTLS, centreHTTP string
	gatewayAddr           string     // with Gateway
	ports                 portBlocks // all of the above are of it

	mu      sync.Mutex
	pki     unit            // guarded by mu
	relay   []unit          // guarded by mu; nil where stopped
	device  []unit          // guarded by mu; nil where stopped
	centre  []unit          // guarded by mu; one, nil where there is none
	gateway []unit          // guarded by mu; as centre
	dialers []*dial.Dialer  // guarded by mu
	leaving map[string]bool // guarded by mu; parts that were told to end

	issuing sync.Mutex // held while a service gets its certificate: its directory has one writer
}

// Start starts a world and returns when every relay accepts; devices may still be
// connecting, see [World.AwaitDevices]. What was started is ended on error.
func Start(ctx context.Context, cfg Config) (w *World, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	w = &World{
		cfg: cfg, relays: make([]string, cfg.Relays), relay: make([]unit, cfg.Relays), device: make([]unit, len(cfg.Devices)),
		centre: make([]unit, 1), gateway: make([]unit, 1), pages: make([]string, len(cfg.Devices)), targets: make([]*targets, len(cfg.Devices)),
		admin:   server.Admin{Socket: filepath.Join(cfg.Dir, "pki", "state", "admin.sock"), Actor: "world"},
		leaving: make(map[string]bool),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("world: %w", err), w.Close())
			w = nil
		}
	}()
	if cfg.Kind == Processes {
		w.starter = &programs{world: w}
	} else {
		w.starter = &inProcess{world: w, relays: make([]*relay.Relay, cfg.Relays), instances: make([][]byte, len(cfg.Devices)), creds: make(map[string]*enrol.Credentials)}
	}
	addrs := []*string{&w.pkiAddr, &w.acmeAddr}
	for i := range w.relays {
		addrs = append(addrs, &w.relays[i])
	}
	if cfg.Centre {
		addrs = append(addrs, &w.centreTLS, &w.centreHTTP)
	}
	if cfg.Gateway {
		addrs = append(addrs, &w.gatewayAddr)
	}
	for i, d := range cfg.Devices {
		if d.PBX {
			addrs = append(addrs, &w.pages[i])
		}
	}
	for _, addr := range addrs {
		if *addr, err = w.ports.next(ctx); err != nil {
			return w, err
		}
	}
	if w.pki, err = w.starter.startPKI(ctx); err != nil {
		return w, fmt.Errorf("pki: %w", err)
	}
	w.watch("pki", w.pki)
	if err := w.writeRoots(); err != nil {
		return w, err
	}
	if err := w.makeFirmwareKey(); err != nil {
		return w, err
	}
	for i := range w.relays {
		id := identity.Relay(cfg.TrustDomain, relayDir(i))
		creds, err := w.admin.Issue(ctx, id, profile.Extra{DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
		if err != nil {
			return w, fmt.Errorf("%s: %w", id.Path(), err)
		}
		if err := creds.Save(w.path(relayDir(i), "credentials")); err != nil {
			return w, err
		}
		if cfg.Names {
			if err := w.writeEAB(ctx, namesRole, relayDir(i)); err != nil {
				return w, fmt.Errorf("%s: %w", w.RelayName(i), err)
			}
		}
		if err := w.StartRelay(ctx, i); err != nil {
			return w, err
		}
	}
	if cfg.Centre {
		if err := w.prepareCentre(ctx); err != nil {
			return w, fmt.Errorf("ccc: %w", err)
		}
		if err := w.StartCentre(ctx); err != nil {
			return w, err
		}
	}
	if cfg.Gateway {
		if err := w.prepareGateway(ctx); err != nil {
			return w, fmt.Errorf("ara: %w", err)
		}
		if err := w.StartGateway(ctx); err != nil {
			return w, err
		}
	}
	for i, d := range cfg.Devices {
		if !d.PBX {
			if w.targets[i], err = startTargets(d, cfg.Logger.Named("targets")); err != nil {
				return w, err
			}
		}
		if err := w.StartDevice(ctx, i); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *World) path(parts ...string) string {
	return filepath.Join(append([]string{w.cfg.Dir}, parts...)...)
}

// writeRoots keeps the trust bundle where people and programs find it.
func (w *World) writeRoots() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	creds, err := w.admin.Issue(ctx, identity.Service(w.cfg.TrustDomain, "world"), profile.Extra{})
	if err != nil {
		return err
	}
	w.roots = creds.Roots()
	return os.WriteFile(w.Roots(), enrol.EncodeCertificates(w.roots...), 0o644) //nolint:gosec // roots are public
}

// Roots is the file with the trust bundle.
func (w *World) Roots() string { return w.path("roots.pem") }

// Dir is the world's directory.
func (w *World) Dir() string { return w.cfg.Dir }

// PKI is the address of the PKI's public API as a URL, and its admin client.
func (w *World) PKI() (url string, admin server.Admin) { return "https://" + w.pkiAddr, w.admin }

// RelayAddr is the address of relay i, from 0; it never changes.
func (w *World) RelayAddr(i int) string { return w.relays[i] }

// RelayAdmin is the admin listener of relay i as --admin takes it; for [Processes].
func (w *World) RelayAdmin(i int) string { return "unix:" + w.path(relayDir(i), "admin.sock") }

// Devices is how many devices the world has, running or not.
func (w *World) Devices() int { return len(w.cfg.Devices) }

// Device is the serial of device i, from 0.
func (w *World) Device(i int) identity.Serial { return w.cfg.Devices[i].Serial }

// StartRelay starts relay i at its old address and with its old state.
func (w *World) StartRelay(ctx context.Context, i int) error {
	return w.start(relayDir(i), w.relay, i, func() (unit, error) { return w.starter.startRelay(ctx, i) })
}

// StopRelay stops relay i as SIGTERM does: it drains first.
func (w *World) StopRelay(ctx context.Context, i int) error {
	return w.end(relayDir(i), w.relay, i, func(u unit) error { return u.stop(ctx) })
}

// KillRelay ends relay i as SIGKILL does. In process its sessions are told all the
// same.
func (w *World) KillRelay(i int) error {
	return w.end(relayDir(i), w.relay, i, unit.kill)
}

// Drain empties relay i; it runs on and refuses sessions.
func (w *World) Drain(ctx context.Context, i int) (relay.Drained, error) {
	return w.starter.drain(ctx, i)
}

// Sessions lists the sessions of relay i.
func (w *World) Sessions(ctx context.Context, i int) ([]relay.SessionInfo, error) {
	return w.starter.sessions(ctx, i)
}

// StartDevice starts device i, enrolled at its first start.
func (w *World) StartDevice(ctx context.Context, i int) error {
	return w.start(deviceDir(w.Device(i)), w.device, i, func() (unit, error) { return w.starter.startDevice(ctx, i) })
}

// KillDevice ends device i as SIGKILL does, with [Processes].
func (w *World) KillDevice(i int) error {
	return w.end(deviceDir(w.Device(i)), w.device, i, unit.kill)
}

// StopDevice stops device i.
func (w *World) StopDevice(ctx context.Context, i int) error {
	return w.end(deviceDir(w.Device(i)), w.device, i, func(u unit) error { return u.stop(ctx) })
}

func (w *World) start(name string, units []unit, i int, start func() (unit, error)) error {
	w.mu.Lock()
	running := units[i] != nil
	delete(w.leaving, name)
	w.mu.Unlock()
	if running {
		return fmt.Errorf("%s: %w", name, ErrRunning)
	}
	u, err := start()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.mu.Lock()
	units[i] = u
	w.mu.Unlock()
	w.watch(name, u)
	return nil
}

// watch reports a part that ends without having been told to.
func (w *World) watch(name string, u unit) {
	if w.cfg.OnEnd == nil {
		return
	}
	go func() {
		<-u.done()
		w.mu.Lock()
		told := w.leaving[name]
		w.mu.Unlock()
		if !told {
			w.cfg.OnEnd(name, u.err())
		}
	}()
}

func (w *World) end(name string, units []unit, i int, how func(unit) error) error {
	w.mu.Lock()
	u := units[i]
	units[i] = nil
	w.leaving[name] = true
	w.mu.Unlock()
	if u == nil {
		return nil
	}
	if err := how(u); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Blocked is how many of the world's devices are blocked, e.g. since an earlier
// start on the same directory.
func (w *World) Blocked(ctx context.Context) (n int, err error) {
	list, err := w.admin.Blocks(ctx)
	if err != nil {
		return 0, err
	}
	for _, d := range w.cfg.Devices {
		if slices.ContainsFunc(list, func(b authority.Block) bool { return b.Identity == identity.Device(w.cfg.TrustDomain, d.Serial).Path() }) {
			n++
		}
	}
	return n, nil
}

// AwaitDevices waits until n devices are connected to relays of the world, counted
// over all of them.
func (w *World) AwaitDevices(ctx context.Context, n int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		have := make(map[string]bool)
		for i := range w.relays {
			list, err := w.Sessions(ctx, i)
			if err != nil {
				continue // a stopped relay holds none
			}
			for _, s := range list {
				if id, err := identity.ParsePath(w.cfg.TrustDomain, s.Peer); err == nil && id.Kind == identity.KindDevice {
					have[s.Peer] = true
				}
			}
		}
		if len(have) == n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d devices are connected, want %d: %w", len(have), n, context.Cause(ctx))
		}
	}
}

// Credentials gets a certificate for a calling service from the PKI, and keeps it
// in the directory that is returned with it, services/<name>.
func (w *World) Credentials(ctx context.Context, service string) (*enrol.Credentials, string, error) {
	dir := w.path("services", service)
	w.issuing.Lock()
	defer w.issuing.Unlock()
	if creds, err := enrol.LoadCredentials(dir); err == nil {
		return creds, dir, nil
	}
	creds, err := w.admin.Issue(ctx, identity.Service(w.cfg.TrustDomain, service), profile.Extra{})
	if err != nil {
		return nil, "", fmt.Errorf("world: service/%s: %w", service, err)
	}
	return creds, dir, creds.Save(dir)
}

// Dialer makes a dialer for a calling service that knows every relay. It is closed
// with the world.
func (w *World) Dialer(ctx context.Context, service string) (*dial.Dialer, error) {
	creds, _, err := w.Credentials(ctx, service)
	if err != nil {
		return nil, err
	}
	d, err := dial.New(dial.Config{Relays: slices.Clone(w.relays), Credentials: creds, Logger: w.cfg.Logger.Named("dial")})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.dialers = append(w.dialers, d)
	w.mu.Unlock()
	return d, nil
}

// Block revokes a device; Unblock takes that back.
func (w *World) Block(ctx context.Context, s identity.Serial, reason string) error {
	_, err := w.admin.Block(ctx, identity.Device(w.cfg.TrustDomain, s), reason)
	return err
}

// Unblock lets a blocked device in again.
func (w *World) Unblock(ctx context.Context, s identity.Serial, reason string) error {
	_, err := w.admin.Unblock(ctx, identity.Device(w.cfg.TrustDomain, s), reason)
	return err
}

// closeTimeout bounds the end of one part.
const closeTimeout = 20 * time.Second

// Close ends everything, callers first and the PKI last, and returns when all has
// ended.
func (w *World) Close() error {
	var errs []error
	w.mu.Lock()
	dialers := w.dialers
	w.dialers = nil
	w.mu.Unlock()
	for _, d := range dialers {
		errs = append(errs, d.Close())
	}
	stop := func(name string, units []unit, i int) {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		errs = append(errs, w.end(name, units, i, func(u unit) error { return u.stop(ctx) }))
	}
	stop(gatewayDir, w.gateway, 0)
	for i := range w.device {
		stop(deviceDir(w.Device(i)), w.device, i)
	}
	for _, t := range w.targets {
		if t != nil {
			errs = append(errs, t.kill())
		}
	}
	stop(centreDir, w.centre, 0)
	for i := range w.relay {
		stop(relayDir(i), w.relay, i)
	}
	stop("pki", []unit{w.pki}, 0)
	return errors.Join(append(errs, w.ports.close())...)
}
