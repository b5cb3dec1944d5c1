package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// device is one simulated device.
type device struct {
	fleet *Fleet
	cfg   agent.Config

	// What follows is guarded by fleet.mu.

	begun   time.Time // when its agent was started last
	online  bool
	been    bool      // online at least once since it was started
	session string    // of the last welcome
	lost    time.Time // when it last noticed the end of a session
	mark    int       // the last mark of the fleet after which it came back
	restart context.CancelFunc
	settled chan struct{} // closed at the first outcome; nil after that
}

// newDevice makes the i-th device. Its transport and instance id follow from its
// number and the seed.
func newDevice(f *Fleet, i int, creds *enrol.Credentials) *device {
	cfg := f.cfg.Agent
	cfg.Relays, cfg.Credentials = f.cfg.Relays, creds
	cfg.InstanceID = instanceID(f.cfg.Seed, uint64(i)) //nolint:gosec // not negative
	cfg.Program = "load"
	cfg.Transport = f.cfg.Transport
	if cfg.Transport == TransportMix {
		cfg.Transport = []string{agent.TransportQUIC, agent.TransportTCP}[i%2]
	}
	d := &device{fleet: f, cfg: cfg}
	d.cfg.OnStatus = d.status
	return d
}

// attach gives the i-th device its share of what the fleet has in common.
//
// The agent's own dialers would open a UDP socket for each session. Apart from
// sockets and addresses, these are the same.
func (d *device) attach(i int, sockets *sockets, services *services) {
	d.cfg.Services = services.targets
	creds := d.cfg.Credentials
	td := creds.ID().TrustDomain
	tls := creds.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
	if d.cfg.Transport == agent.TransportQUIC {
		d.cfg.QUIC = processor{&quictun.Dialer{
			Config:    quictun.Config{TLS: tls, MaxIncomingStreams: streams},
			Transport: sockets.udp[i%len(sockets.udp)],
		}, d.fleet.dialing}
		return
	}
	d.cfg.TCP = processor{&muxtun.Dialer{
		Config:      muxtun.Config{TLS: tls, MaxIncomingStreams: streams},
		DialContext: sockets.dialTCP(i),
	}, d.fleet.dialing}
}

// streams is how many streams a device's session takes at once.
const streams = 272

// instanceID is the same in every run with a seed, so that a relay does not take
// a second run for copies of the first one's devices.
func instanceID(seed, i uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, ^i)) //nolint:gosec // an id, not a secret
	id := make([]byte, 0, tunnel.IDLen)
	for len(id) < tunnel.IDLen {
		id = append(id, byte(rng.Uint32()))
	}
	return id
}

// run runs the device until ctx ends, with a new agent after each restart.
func (d *device) run(ctx context.Context) error {
	for ctx.Err() == nil {
		a, err := agent.New(d.cfg)
		if err != nil {
			return fmt.Errorf("device %s: %w", d.cfg.Credentials.ID().Name, err)
		}
		life, cancel := context.WithCancel(ctx)
		d.fleet.mu.Lock()
		d.restart, d.begun, d.been = cancel, time.Now(), false
		d.fleet.mu.Unlock()
		err = a.Run(life)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// status takes the agent's changes of state.
func (d *device) status(st agent.SlotStatus) {
	f := d.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	switch {
	case st.State == agent.StateConnecting:
		return
	case st.State.Online():
		if st.Session == d.session {
			return
		}
		d.session = st.Session
		f.welcomed(d, now)
	case d.online:
		d.online, d.lost = false, now
		f.count.Online--
		if st.State != agent.StateStopped {
			f.count.Lost[st.LastCode.String()]++
		}
	case st.State != agent.StateStopped:
		f.count.Failed[st.LastCode.String()]++
	}
	if d.settled != nil {
		close(d.settled)
		d.settled = nil
	}
	f.announce()
}
