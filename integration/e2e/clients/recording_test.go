package clients

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// recordingRelay is a relay that lets everybody do everything, and keeps every byte
// that its transports have decrypted. It stands for one whose operator is curious,
// or whose machine is somebody else's.
type recordingRelay struct {
	tunneltest.Recorder
	t    *testing.T
	addr string
	work sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]tunnel.Session // guarded by mu; by the peer's path
}

func startRecordingRelay(t *testing.T, ca *pkitest.CA, transport string) *recordingRelay {
	t.Helper()
	r := &recordingRelay{t: t, sessions: make(map[string]tunnel.Session)}
	cfg := ca.Credentials(identity.Relay(td, "curious")).ServerConfig(nil, tunnel.ALPN)
	var ln tunnel.Listener
	stop := func() {}
	if transport == agent.TransportQUIC {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		quic, err := quictun.Listen(udp, quictun.Config{TLS: cfg})
		if err != nil {
			t.Fatal(err)
		}
		ln, stop = quic, func() { _ = quic.Shutdown() }
	} else {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if ln, err = muxtun.Listen(tcp, muxtun.Config{TLS: cfg}); err != nil {
			t.Fatal(err)
		}
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.work.Go(func() {
		for {
			s, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			r.work.Go(func() { r.serve(ctx, r.Session(s)) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		r.work.Wait()
		stop()
	})
	return r
}

// serve serves one device or caller.
func (r *recordingRelay) serve(ctx context.Context, s tunnel.Session) {
	control, _, err := tunnel.AcceptHello(ctx, s)
	if err != nil {
		r.t.Errorf("hello: %v", err)
		return
	}
	r.mu.Lock()
	r.sessions[s.Peer().Path()] = s
	r.mu.Unlock()
	if err := control.Welcome(&tunnel.Welcome{Session: tunnel.NewID(), Relay: "relay/curious"}); err != nil {
		r.t.Errorf("welcome: %v", err)
	}
	_ = e2e.Serve(ctx, s, e2e.ServeConfig{IdleTimeout: -1, Handle: func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
		p.Caller = s.Peer().Path()
		r.mu.Lock()
		target := r.sessions[p.GetTarget()]
		r.mu.Unlock()
		out, ack, err := tunnel.Open(ctx, target, p)
		if err != nil {
			tunnel.Refuse(st, err)
			return
		}
		if err := tunnel.WriteAck(st, ack.GetHops()...); err != nil {
			r.t.Errorf("open-ack: %v", err)
		}
		splice.Join(st, out, splice.Options{})
	}})
}

// device runs an agent at the relay whose service "talk" answers what it is asked
// with its own text.
func (r *recordingRelay) device(ca *pkitest.CA, transport string, answer []byte) {
	t := r.t
	t.Helper()
	online := make(chan struct{})
	a, err := agent.New(agent.Config{
		Relays: []string{r.addr}, Credentials: ca.Credentials(identity.Device(td, serial)), Transport: transport,
		Services: []agent.Service{{Name: "talk", Raw: true}},
		OnStatus: func(s agent.SlotStatus) {
			if s.State.Online() {
				select {
				case <-online:
				default:
					close(online)
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := a.Listen("talk")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.ReadAll(conn) // to the caller's half-close
				_, _ = conn.Write(answer)
			})
		}
	})
	work.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); work.Wait() })
	select {
	case <-online:
	case <-time.After(patience):
		t.Fatal("the device does not get online")
	}
}

// talk asks the device, and gives its answer.
func talk(t *testing.T, d *dial.Dialer, tlsConfig *tls.Config, inner dial.Inner, question []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call, err := d.Open(ctx, dial.Call{Target: d.Device(serial), Service: "talk", Inner: inner})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = call.Close() }()
	var conn interface {
		io.ReadWriter
		CloseWrite() error
	} = call
	if inner == dial.OwnTLS { // as curl or a browser behind a CONNECT
		conn = tls.Client(call, tlsConfig)
	}
	if _, err := conn.Write(question); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestRecordingRelay: what runs end to end is nowhere in what a relay can read, in
// either direction, whatever it keeps; without the end-to-end TLS it is all there.
func TestRecordingRelay(t *testing.T) {
	t.Parallel()
	inners := map[string]dial.Inner{"mux": dial.Mux, "tls": dial.TLS, "own-tls": dial.OwnTLS, "raw": dial.Raw}
	for _, transport := range []string{agent.TransportTCP, agent.TransportQUIC} {
		for name, inner := range inners {
			t.Run(transport+"/"+name, func(t *testing.T) {
				t.Parallel()
				ca := pkitest.New(t, td)
				caller := ca.Credentials(identity.Service(td, "helpdesk"))
				question, answer := newCanary(), newCanary()
				r := startRecordingRelay(t, ca, transport)
				r.device(ca, transport, answer.message(t))
				d, err := dial.New(dial.Config{Relays: []string{r.addr}, Credentials: caller, Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = d.Close() })

				got := talk(t, d, caller.ClientConfig(identity.Device(td, serial).DNSName(), nil), inner, question.message(t))
				if len(got) != len(answer.message(t)) {
					t.Fatalf("the device answers %q", got)
				}
				for direction, c := range map[string]canary{"to the device": question, "to the caller": answer} {
					forms := c.found(t, r.Contains)
					switch all := len(c.forms(t)); {
					case inner == dial.Raw && len(forms) != all:
						t.Errorf("control: without end-to-end TLS the relay has seen only %q of what went %s", forms, direction)
					case inner != dial.Raw && len(forms) != 0:
						t.Errorf("the relay has seen what went %s: %q", direction, forms)
					}
				}
				if least := len(question.message(t)) + len(answer.message(t)); r.Len() < least {
					t.Errorf("%d bytes have passed the relay, fewer than the %d sent", r.Len(), least)
				}
			})
		}
	}
}
