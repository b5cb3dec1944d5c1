package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// AttackerSerial is the device whose certificate an [Attack] misuses.
const AttackerSerial identity.Serial = "0666666666"

// Attack is one way in which a peer misbehaves towards a relay.
type Attack struct {
	Name string
	// About says what it does, for people.
	About string
	run   func(a *attacker, ctx context.Context) error
}

// Attacks are all there are.
func Attacks() []Attack {
	return []Attack{
		{"streams", "a device opens streams as fast as it can, 100,000 in each session", (*attacker).streams},
		{"loris", "500 connections begin a handshake and say no more; streams begin a preamble and say no more", (*attacker).loris},
		{"garbage", "1,000 random datagrams and 100 connections with random bytes per second", (*attacker).garbage},
		{"preamble", "a device opens 50 streams per second with a preamble of 1 MiB", (*attacker).preamble},
		{"goaway", "a device connects 10 times per second and ignores that its old sessions are told to go", (*attacker).goAway},
		{"crash", "a device starts and crashes 10 times per second", (*attacker).crash},
	}
}

// AttackNames are the names of all attacks.
func AttackNames() []string {
	var names []string
	for _, a := range Attacks() {
		names = append(names, a.Name)
	}
	return names
}

// FindAttack gives the attack of a name.
func FindAttack(name string) (Attack, error) {
	all := Attacks()
	i := slices.IndexFunc(all, func(a Attack) bool { return a.Name == name })
	if i < 0 {
		return Attack{}, fmt.Errorf("attack %q, want one of %s", name, strings.Join(AttackNames(), ", "))
	}
	return all[i], nil
}

// Run attacks a relay at "host:port" until ctx ends, with the credentials of a
// device. What the relay refuses is part of the attack and no error. done is raised
// by each thing that was done: a stream, a connection, a datagram.
func (a Attack) Run(ctx context.Context, relay string, creds *enrol.Credentials, done *atomic.Int64) error {
	// The same in every run, or the relay would take the device for a copy.
	err := a.run(&attacker{relay: relay, creds: creds, instance: instanceID(0, math.MaxUint64), done: done}, ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// attacker is one attack in progress.
type attacker struct {
	relay    string
	creds    *enrol.Credentials
	instance []byte
	done     *atomic.Int64
}

// attackPause keeps an attacker that is turned away from spinning.
const attackPause = 100 * time.Millisecond

// every runs f n times per second, without waiting for the one before, until ctx
// ends.
func every(ctx context.Context, n rate.Limit, f func(ctx context.Context, i int)) error {
	pace := rate.NewLimiter(n, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := 0; ; i++ {
		if err := pace.Wait(ctx); err != nil {
			return err
		}
		wg.Go(func() { f(ctx, i) })
	}
}

// join connects over the i-th transport and says hello for a slot. crash ends the
// session without a word.
func (a *attacker) join(ctx context.Context, i int, slot uint32, boot []byte) (s tunnel.Session, crash func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	td := a.creds.ID().TrustDomain
	tls := a.creds.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
	if i%2 == 0 {
		s, crash, err = dialQUIC(ctx, a.relay, quictun.Config{TLS: tls})
	} else {
		s, crash, err = dialTCP(ctx, a.relay, muxtun.Config{TLS: tls})
	}
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := tunnel.Connect(ctx, s, &tunnel.Hello{InstanceId: a.instance, BootId: boot, Slot: slot, Agent: "attack"}); err != nil {
		crash()
		return nil, nil, err
	}
	a.done.Add(1)
	return s, crash, nil
}

func dialQUIC(ctx context.Context, relay string, cfg quictun.Config) (tunnel.Session, func(), error) {
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, nil, err
	}
	d := quictun.Dialer{Config: cfg, Transport: &quic.Transport{Conn: pc}}
	s, err := d.Dial(ctx, relay)
	crash := func() {
		// The socket first, so that nothing tells the relay.
		_, _ = pc.Close(), d.Transport.Close()
	}
	if err != nil {
		crash()
	}
	return s, crash, err
}

func dialTCP(ctx context.Context, relay string, cfg muxtun.Config) (tunnel.Session, func(), error) {
	var conn net.Conn
	d := muxtun.Dialer{Config: cfg, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return conn, err
	}}
	s, err := d.Dial(ctx, relay)
	if err != nil {
		return nil, nil, err
	}
	return s, func() {
		_ = conn.Close()
		<-s.Done()
	}, nil
}

// sessions runs f on one session of each transport, again and again. The context
// of f ends with the session.
func (a *attacker) sessions(ctx context.Context, f func(ctx context.Context, s tunnel.Session)) error {
	boot := tunnel.NewID()
	var g errgroup.Group
	for i := range 2 {
		g.Go(func() error {
			for ctx.Err() == nil {
				if s, crash, err := a.join(ctx, i, uint32(i), boot); err == nil { //nolint:gosec // 0 or 1
					life, cancel := context.WithCancel(ctx)
					go func() {
						<-s.Done()
						cancel()
					}()
					f(life, s)
					crash()
					<-life.Done()
				}
				sleep(ctx, attackPause)
			}
			return nil
		})
	}
	return g.Wait()
}

func (a *attacker) streams(ctx context.Context) error {
	return a.sessions(ctx, func(ctx context.Context, s tunnel.Session) {
		for range 100_000 {
			// Not closed: that is the attack.
			st, err := s.Open(ctx)
			if err != nil {
				return
			}
			a.done.Add(1)
			// A byte makes QUIC send the stream at all.
			if _, err := st.Write([]byte{0}); err != nil && s.Err() != nil {
				return
			}
		}
	})
}

func (a *attacker) loris(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error {
		return a.sessions(ctx, func(ctx context.Context, s tunnel.Session) {
			for {
				st, err := s.Open(ctx)
				if err != nil {
					return
				}
				a.done.Add(1)
				_, _ = st.Write([]byte{0x80}) // half a length
				_, _ = io.Copy(io.Discard, st)
			}
		})
	})
	for i := range 500 {
		g.Go(func() error {
			for ctx.Err() == nil {
				a.silent(ctx, i)
				sleep(ctx, attackPause)
			}
			return nil
		})
	}
	return g.Wait()
}

// silent is one connection that says nothing, or half of a ClientHello.
func (a *attacker) silent(ctx context.Context, i int) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", a.relay)
	if err != nil {
		return
	}
	a.done.Add(1)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	if i%2 == 0 {
		_, _ = c.Write([]byte{22, 3, 1, 2, 0, 1, 0})
	}
	_, _ = io.Copy(io.Discard, c) // until the relay has enough of it
	stop()
	_ = c.Close()
}

func (a *attacker) garbage(ctx context.Context) error {
	udp, err := new(net.Dialer).DialContext(ctx, "udp", a.relay)
	if err != nil {
		return err
	}
	defer func() { _ = udp.Close() }()
	var g errgroup.Group
	g.Go(func() error {
		return every(ctx, 1000, func(_ context.Context, i int) {
			b := make([]byte, 1200)
			_, _ = rand.Read(b)
			if i%2 == 0 {
				copy(b, []byte{0xc3, 0, 0, 0, 1, 8}) // a QUIC Initial, so to speak
			}
			_, _ = udp.Write(b)
			a.done.Add(1)
		})
	})
	g.Go(func() error {
		return every(ctx, 100, func(ctx context.Context, _ int) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", a.relay)
			if err != nil {
				return
			}
			a.done.Add(1)
			b := make([]byte, 4096)
			_, _ = rand.Read(b)
			_, _ = c.Write(b)
			_ = c.Close()
		})
	})
	return g.Wait()
}

func (a *attacker) preamble(ctx context.Context) error {
	huge := binary.AppendUvarint(nil, 1<<20)
	huge = append(huge, make([]byte, 1<<20)...)
	return a.sessions(ctx, func(ctx context.Context, s tunnel.Session) {
		_ = every(ctx, 25, func(ctx context.Context, _ int) {
			st, err := s.Open(ctx)
			if err != nil {
				return
			}
			a.done.Add(1)
			_, _ = st.Write(huge)
			_ = st.Close()
		})
	})
}

func (a *attacker) goAway(ctx context.Context) error {
	boot := tunnel.NewID()
	return every(ctx, 10, func(ctx context.Context, i int) {
		s, crash, err := a.join(ctx, i, 0, boot)
		if err != nil {
			return
		}
		// A stream that never ends is a reason to be left alone.
		if st, err := s.Open(ctx); err == nil {
			_, _ = st.Write([]byte{0x80})
		}
		select {
		case <-s.Done():
		case <-ctx.Done():
		}
		crash()
	})
}

func (a *attacker) crash(ctx context.Context) error {
	return every(ctx, 10, func(ctx context.Context, i int) {
		if _, crash, err := a.join(ctx, i, 0, tunnel.NewID()); err == nil {
			crash()
		}
	})
}
