package relay_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// attacker is a device with a good certificate and bad manners.
const attacker = identity.Serial("0666666666")

// underAttack runs an attack while calls to a good device go on, and checks that
// all of them succeed and that the relay then returns to where it was.
func underAttack(t *testing.T, change func(*relay.Config), attack func(t *testing.T, w *world)) {
	t.Helper()
	w := newWorld(t, change)
	w.device(serial, agent.TransportTCP, nil)
	w.online(identity.Device(td, serial), 1)
	d := w.dialer("ccc", func(c *dial.Config) { c.Transport = dial.TransportTCP })
	call := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c, err := d.DialContext(ctx, serial, "echo")
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "ping"); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 4))
		return err
	}
	if err := call(); err != nil { // warms the sessions up
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	over := make(chan struct{})
	var calls atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if err := call(); err != nil {
				t.Errorf("call %d under attack: %v", calls.Load(), err)
				return
			}
			calls.Add(1)
			select {
			case <-over:
				return
			default:
			}
		}
	})
	attack(t, w)
	close(over)
	wg.Wait()
	if calls.Load() == 0 {
		t.Error("no call went through during the attack")
	}
	eventually(t, 30*time.Second, "goroutines as before", func() bool { return runtime.NumGoroutine() <= before+5 })
	eventually(t, patience, "the good device alone", func() bool { return w.relay.Status().Devices == 1 })
}

func (w *world) attacker(t *testing.T, tr tunnel.Transport) tunnel.Session {
	t.Helper()
	s, c, err := w.join(tr, w.clientTLS(w.ca.Issue(identity.Device(td, attacker), pkitest.Options{})), newHello())
	if err != nil {
		t.Fatal(err)
	}
	answerProbes(t, c)
	return s
}

// The tests below are not parallel: they compare numbers of goroutines.

func TestHostileManyStreams(t *testing.T) {
	for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		t.Run(string(tr), func(t *testing.T) {
			n := 100_000
			if testing.Short() {
				n = 5_000
			}
			underAttack(t, func(c *relay.Config) { c.Limits.OpensPerSecond, c.Limits.OpenBurst = 1e6, 1e6 }, func(t *testing.T, w *world) {
				s := w.attacker(t, tr)
				for range n {
					ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
					st, err := s.Open(ctx)
					cancel()
					if err != nil {
						break // the relay may well end the session
					}
					// A byte makes QUIC send the stream at all.
					if _, err := st.Write([]byte{0}); err != nil && s.Err() != nil {
						break
					}
				}
				if counter(t, w, "auerproxy_drops_total") == 0 && s.Err() == nil {
					t.Error("no stream was refused")
				}
				_ = s.CloseWithError(tunnel.CodeOK, "")
			})
		})
	}
}

func TestHostilePreambles(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<20)
	huge = append(huge, make([]byte, 1<<20)...)
	garbage := make([]byte, 4096)
	_, _ = rand.Read(garbage)
	garbage[0] = 0x40 // a plausible length
	for name, bytes := range map[string][]byte{
		"1 MiB preamble": huge,
		"garbage":        garbage,
		"half a length":  {0x80},
		"nothing":        {},
	} {
		t.Run(name, func(t *testing.T) {
			underAttack(t, func(c *relay.Config) {
				c.Limits.PreambleTimeout = 300 * time.Millisecond
				c.Heartbeat = 10 * time.Second // the attacker sends none
			}, func(t *testing.T, w *world) {
				for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
					if tr == tunnel.QUIC && len(bytes) == 0 {
						continue // a QUIC stream without a byte is not sent at all
					}
					s := w.attacker(t, tr)
					for range 8 {
						st, err := s.Open(timeout(t, 5*time.Second))
						if err != nil {
							t.Fatal(err)
						}
						go func() { _, _ = st.Write(bytes) }()
						_ = st.SetReadDeadline(time.Now().Add(10 * time.Second))
						ack, err := readAck(st)
						if err == nil && tunnel.Code(ack.GetCode()) == tunnel.CodeOK {
							t.Error("opened")
						}
						_ = st.Close()
					}
					_ = s.CloseWithError(tunnel.CodeOK, "")
					// QUIC says so once, in a datagram that may get lost behind so many
					// others; then the relay has to notice the silence.
					eventually(t, time.Minute, "the attacker is gone", func() bool {
						return len(w.relay.Sessions(identity.Device(td, attacker).Path())) == 0
					})
				}
			})
		})
	}
}

func readAck(st tunnel.Stream) (*tunnelpb.OpenAck, error) {
	b, err := io.ReadAll(st)
	if err != nil {
		return nil, err
	}
	_, n := binary.Uvarint(b)
	ack := new(tunnelpb.OpenAck)
	if n <= 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return ack, proto.Unmarshal(b[n:], ack)
}

func TestHostileHandshakes(t *testing.T) {
	underAttack(t, func(c *relay.Config) {
		c.Limits.HandshakeTimeout = 500 * time.Millisecond
		c.Limits.Handshakes = 8
	}, func(t *testing.T, w *world) {
		// More silent connections than handshakes may run, garbage, and half a
		// ClientHello; over UDP random datagrams and long headers.
		var conns []net.Conn
		for i := range 24 {
			c, err := new(net.Dialer).DialContext(timeout(t, 5*time.Second), "tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
			switch i % 3 {
			case 1:
				_, _ = io.WriteString(c, strings.Repeat("GET / HTTP/1.1\r\n", 100))
			case 2:
				_, _ = c.Write([]byte{22, 3, 1, 2, 0, 1, 0})
			}
		}
		udp, err := new(net.Dialer).DialContext(timeout(t, 5*time.Second), "udp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			b := make([]byte, 1200)
			_, _ = rand.Read(b)
			if i%2 == 0 {
				copy(b, []byte{0xc3, 0, 0, 0, 1, 8}) // a QUIC Initial, so to speak
			}
			_, _ = udp.Write(b)
		}
		_ = udp.Close()
		// A good device gets in while the silent ones hold every place.
		s := w.attacker(t, tunnel.TCP)
		_ = s.CloseWithError(tunnel.CodeOK, "")
		for _, c := range conns {
			// Each is closed by the relay, not by us.
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Error("a connection without a handshake is still open")
			}
			_ = c.Close()
		}
	})
}

func TestHostileCrashLoop(t *testing.T) {
	loops := 600
	if testing.Short() {
		loops = 60
	}
	underAttack(t, nil, func(t *testing.T, w *world) {
		cfg := w.clientTLS(w.ca.Issue(identity.Device(td, attacker), pkitest.Options{}))
		instance := tunnel.NewID()
		for i := range loops {
			tr := tunnel.TCP
			if i%2 == 0 {
				tr = tunnel.QUIC
			}
			ctx := timeout(t, 10*time.Second)
			s, err := w.dialWith(ctx, tr, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := tunnel.Connect(ctx, s, &tunnel.Hello{InstanceId: instance, BootId: tunnel.NewID()}); err != nil {
				t.Fatalf("restart %d: %v", i, err)
			}
			_ = s.CloseWithError(tunnel.CodeShutdown, "")
		}
		w.online(identity.Device(td, attacker), 0)
	})
}
