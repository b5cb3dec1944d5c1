package relay_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// clientTLS is a device's TLS configuration with any certificate.
func (w *world) clientTLS(cert tls.Certificate) *tls.Config {
	cfg := w.ca.Credentials(identity.Device(td, serial)).ClientConfig(
		identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	return cfg
}

func (w *world) dialWith(ctx context.Context, tr tunnel.Transport, cfg *tls.Config) (tunnel.Session, error) {
	if tr == tunnel.QUIC {
		d := quictun.Dialer{Config: quictun.Config{TLS: cfg}}
		return d.Dial(ctx, w.addr)
	}
	d := muxtun.Dialer{Config: muxtun.Config{TLS: cfg}}
	return d.Dial(ctx, w.addr)
}

// join dials and says hello; the session is closed when the test ends.
func (w *world) join(tr tunnel.Transport, cfg *tls.Config, hello *tunnel.Hello) (tunnel.Session, *tunnel.Control, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := w.dialWith(ctx, tr, cfg)
	if err != nil {
		return nil, nil, err
	}
	w.t.Cleanup(func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") })
	c, _, err := tunnel.Connect(ctx, s, hello)
	return s, c, err
}

func newHello() *tunnel.Hello {
	return &tunnel.Hello{InstanceId: tunnel.NewID(), BootId: tunnel.NewID()}
}

func TestRefusedInTLSOrAtWelcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	foreign := pkitest.New(t, td)
	device := identity.Device(td, serial)
	now := time.Now()
	victim := identity.Device(td, "0222222222")
	chained := w.ca.Issue(identity.Service(td, "ccc"), pkitest.Options{})
	chained.Certificate = append(chained.Certificate, w.ca.Issue(victim, pkitest.Options{}).Certificate[0])
	otherDomain := pkitest.New(t, "example.org")
	blocked := identity.Device(td, "0666666666")
	w.relay.SetBlocks(blocks.NewList(1, blocked.Path()))

	for _, tt := range []struct {
		name string
		cert tls.Certificate
		want tunnel.Code
	}{
		{"no certificate", tls.Certificate{}, tunnel.CodeCertificateMissing},
		{"expired", w.ca.Issue(device, pkitest.Options{NotAfter: now.Add(-time.Hour)}), tunnel.CodeCertificateExpired},
		{"not yet valid", w.ca.Issue(device, pkitest.Options{NotBefore: now.Add(time.Hour)}), tunnel.CodeCertificateExpired},
		{"foreign CA", foreign.Issue(device, pkitest.Options{}), tunnel.CodeUnknownAuthority},
		{"another trust domain", otherDomain.Issue(identity.Device("example.org", serial), pkitest.Options{}), tunnel.CodeUnknownAuthority},
		{"a relay's certificate", w.ca.Issue(identity.Relay(td, "r2"), pkitest.Options{}), tunnel.CodeCertificateRefused},
		{"blocked before", w.ca.Issue(blocked, pkitest.Options{}), tunnel.CodeCertificateRefused},
		{"two URI SANs", w.ca.Issue(device, pkitest.Options{Mutate: func(c *x509.Certificate) {
			c.URIs = append(c.URIs, identity.Device(td, "0999999999").URI())
		}}), tunnel.CodeCertificateRefused},
		{"serial and URI differ", w.ca.Issue(device, pkitest.Options{Mutate: func(c *x509.Certificate) {
			c.Subject.SerialNumber = "0999999999"
		}}), tunnel.CodeCertificateRefused},
		{"device name signed by the service authority", w.ca.Issue(device, pkitest.Options{Signer: identity.KindService}), tunnel.CodeCertificateRefused},
		{"good (positive control)", w.ca.Issue(device, pkitest.Options{}), tunnel.CodeOK},
	} {
		for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
			t.Run(tt.name+"/"+string(tr), func(t *testing.T) {
				_, _, err := w.join(tr, w.clientTLS(tt.cert), newHello())
				got := tunnel.CodeOf(err)
				if got != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
			})
		}
	}

	if counter(t, w, "auerproxy_drops_total", "tcp_handshake") == 0 {
		t.Error("handshakes that TCP refused are not counted")
	}

	// A device's certificate behind a service's own makes nobody a device.
	if _, _, err := w.join(tunnel.TCP, w.clientTLS(chained), newHello()); err != nil {
		t.Fatal(err)
	}
	if n := len(w.relay.Sessions(victim.Path())); n > 0 {
		t.Errorf("%d sessions of %s, none wanted", n, victim.Path())
	}
	w.online(identity.Service(td, "ccc"), 1)
}

func TestBlockedWhileConnectedIsCutAlsoAfterResumption(t *testing.T) {
	t.Parallel()
	for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		t.Run(string(tr), func(t *testing.T) {
			t.Parallel()
			secret := filepath.Join(t.TempDir(), "tickets")
			if err := os.WriteFile(secret, []byte(rand.Text()+rand.Text()), 0o600); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, func(c *relay.Config) { c.TicketSecretFile = configs.SecretFile(secret) })
			device, other := identity.Device(td, serial), identity.Device(td, "0987654321")
			cfg := w.clientTLS(w.ca.Issue(device, pkitest.Options{}))
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			var resumed atomic.Bool
			verify := cfg.VerifyConnection
			cfg.VerifyConnection = func(cs tls.ConnectionState) error {
				resumed.Store(cs.DidResume)
				return verify(cs)
			}
			if _, _, err := w.join(tr, cfg, newHello()); err != nil {
				t.Fatal(err)
			}
			cut, _, err := w.join(tr, cfg, newHello())
			if err != nil {
				t.Fatal(err)
			}
			if !resumed.Load() {
				t.Error("the device does not resume")
			}
			kept, _, err := w.join(tr, w.clientTLS(w.ca.Issue(other, pkitest.Options{})), newHello())
			if err != nil {
				t.Fatal(err)
			}
			w.relay.SetBlocks(blocks.NewList(1, device.Path()))
			select {
			case <-cut.Done():
			case <-time.After(5 * time.Second):
				t.Fatal("a blocked session lives on after 5 s")
			}
			if got := tunnel.CodeOf(cut.Err()); got != tunnel.CodeBlocked {
				t.Errorf("cut with %v, want %s", cut.Err(), tunnel.CodeBlocked)
			}
			// With the ticket of the cut session.
			_, _, err = w.join(tr, cfg, newHello())
			if tr == tunnel.QUIC && tunnel.CodeOf(err) == tunnel.CodeUnreachable {
				// The refusal overtakes the relay's proof, and takes the ticket away.
				_, _, err = w.join(tr, cfg, newHello())
			}
			if tunnel.CodeOf(err) != tunnel.CodeCertificateRefused {
				t.Errorf("resumed after the block: %v", err)
			}
			if kept.Err() != nil {
				t.Errorf("another device was cut: %v", kept.Err())
			}
			w.relay.SetBlocks(blocks.NewList(2))
			if _, _, err := w.join(tr, cfg, newHello()); err != nil {
				t.Errorf("unblocked, but refused: %v", err)
			}
		})
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	cfg := w.clientTLS(w.ca.Issue(identity.Device(td, serial), pkitest.Options{}))
	hello := newHello()
	incumbent, control, err := w.join(tunnel.TCP, cfg, hello)
	if err != nil {
		t.Fatal(err)
	}
	answerProbes(t, control)

	// Another instance while the first answers: the newcomer is refused.
	_, _, err = w.join(tunnel.QUIC, cfg, newHello())
	if tunnel.CodeOf(err) != tunnel.CodeCloneSuspected {
		t.Errorf("copy: %v, want %s", err, tunnel.CodeCloneSuspected)
	}
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.RetryAfterMin < time.Minute {
		t.Errorf("a refused copy may come back too soon: %v", err)
	}
	if incumbent.Err() != nil {
		t.Fatalf("the incumbent was evicted: %v", incumbent.Err())
	}
	if n := counter(t, w, "auerproxy_clone_alarms_total"); n != 1 {
		t.Errorf("%v alarms, want 1", n)
	}

	// The same instance: the newest wins.
	again := &tunnel.Hello{InstanceId: hello.GetInstanceId(), BootId: tunnel.NewID(), Attempt: 2}
	_, control, err = w.join(tunnel.QUIC, cfg, again)
	if err != nil {
		t.Fatal(err)
	}
	answerProbes(t, control)
	<-incumbent.Done()
	if got := tunnel.CodeOf(incumbent.Err()); got != tunnel.CodeReplaced {
		t.Errorf("old session ended with %v, want %s", incumbent.Err(), tunnel.CodeReplaced)
	}
	w.online(identity.Device(td, serial), 1)

	// The same program on its way to another transport: its calls may end first.
	moved := &tunnel.Hello{InstanceId: again.GetInstanceId(), BootId: again.GetBootId(), Attempt: 3}
	next, _, err := w.join(tunnel.TCP, cfg, moved)
	if err != nil {
		t.Fatal(err)
	}
	list := w.online(identity.Device(td, serial), 2)
	if list[0].Leaving == list[1].Leaving {
		t.Errorf("one of the two sessions should be leaving: %+v", list)
	}
	for _, s := range list {
		if s.Leaving == (s.Transport == tunnel.TCP) {
			t.Errorf("the wrong session is leaving: %+v", list)
		}
	}
	if next.Err() != nil {
		t.Errorf("the new session ended: %v", next.Err())
	}
}

func TestCopiedDiskImageIsQuarantined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	cfg := w.clientTLS(w.ca.Issue(identity.Device(td, serial), pkitest.Options{}))
	a := newHello()
	b := &tunnel.Hello{InstanceId: a.GetInstanceId(), BootId: tunnel.NewID()}
	var err error
	tries := 0
	for ; err == nil && tries < 20; tries++ {
		h := a
		if tries%2 == 1 {
			h = b
		}
		_, _, err = w.join(tunnel.TCP, cfg, h)
	}
	if tunnel.CodeOf(err) != tunnel.CodeQuarantined {
		t.Errorf("after %d changes of hands: %v, want %s", tries, err, tunnel.CodeQuarantined)
	}
}

func TestUnknownOfflineAndForeignLookTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, stop := w.device("0900000001", agent.TransportTCP, nil)
	w.device("0100000001", agent.TransportTCP, nil)
	w.online(identity.Device(td, "0900000001"), 1)
	w.online(identity.Device(td, "0100000001"), 1)
	stop()
	w.online(identity.Device(td, "0900000001"), 0)

	ara := w.dialer("ara", nil)
	var texts []string
	for _, s := range []identity.Serial{"0999999999", "0900000001", "0100000001"} { // unknown, offline, foreign
		_, err := ara.DialContext(timeout(t, 5*time.Second), s, "web")
		if tunnel.CodeOf(err) != tunnel.CodeNotReachable {
			t.Errorf("%s: %v, want %s", s, err, tunnel.CodeNotReachable)
		}
		texts = append(texts, err.Error())
	}
	if texts[0] != texts[1] || texts[1] != texts[2] {
		t.Errorf("the answers differ: %q", texts)
	}
	// Positive control: the same foreign device is there for ccc.
	c, err := w.dialer("ccc", nil).DialContext(timeout(t, 5*time.Second), "0100000001", "web")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	// What no rule allows for any device is named as such.
	if _, err := ara.DialContext(timeout(t, 5*time.Second), "0100000001", "ssh"); tunnel.CodeOf(err) != tunnel.CodePolicyDenied {
		t.Errorf("ssh: %v, want %s", err, tunnel.CodePolicyDenied)
	}
}

func TestDeviceNeverReachesADevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) {
		c.Policy = append(c.Policy, relay.Rule{Caller: "service/*", Target: "device", Services: []string{"*"}})
	})
	w.device(serial, agent.TransportTCP, nil)
	w.online(identity.Device(td, serial), 1)
	attacker, _, err := w.join(tunnel.TCP, w.clientTLS(w.ca.Issue(identity.Device(td, "0111111111"), pkitest.Options{})), newHello())
	if err != nil {
		t.Fatal(err)
	}
	for _, claimed := range []string{"", "service/ccc", "device/0111111111"} {
		_, _, err = tunnel.Open(timeout(t, 5*time.Second), attacker, &tunnel.Preamble{
			Target: identity.Device(td, serial).Path(), Service: "web", Caller: claimed,
		})
		if tunnel.CodeOf(err) != tunnel.CodePolicyDenied {
			t.Errorf("as %q: %v, want %s", claimed, err, tunnel.CodePolicyDenied)
		}
	}
}

// A device that moves keeps what runs in its old session, but not one session after
// the other.
func TestPredecessors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) {
		c.Drain.Deadline = 10 * time.Millisecond
		c.Limits.PreambleTimeout = 500 * time.Millisecond
	})
	cfg := w.clientTLS(w.ca.Issue(identity.Device(td, serial), pkitest.Options{}))
	hello := newHello()
	hello.Choice = tunnelpb.Choice_CHOICE_TRIAL
	var sessions []tunnel.Session
	var streams []tunnel.Stream
	for range 2 {
		s, _, err := w.join(tunnel.TCP, cfg, hello)
		if err != nil {
			t.Fatal(err)
		}
		// A stream that the relay ends itself, after fifty deadlines of a drain.
		st, err := s.Open(timeout(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "the relay has the stream", func() bool {
			return slices.ContainsFunc(w.relay.Sessions(""), func(i relay.SessionInfo) bool { return !i.Leaving && i.StreamsFrom == 1 && i.Choice == "trial" })
		})
		sessions, streams = append(sessions, s), append(streams, st)
	}
	var end [1]byte
	_, err := streams[0].Read(end[:])
	if tunnel.CodeOf(err) == tunnel.CodeSessionLost {
		t.Errorf("the stream of the old session ended with %v", err)
	}
	<-sessions[0].Done()
	if got := tunnel.CodeOf(sessions[0].Err()); got != tunnel.CodeReplaced {
		t.Errorf("the old session ended with %v, want %s", sessions[0].Err(), tunnel.CodeReplaced)
	}
	if n := counter(t, w, "auerproxy_transport_choices_total"); n != 2 {
		t.Errorf("%v choices were counted", n)
	}
}

func TestFewPredecessors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil) // none ends because a deadline passes
	cfg := w.clientTLS(w.ca.Issue(identity.Device(td, serial), pkitest.Options{}))
	hello := newHello()
	var sessions []tunnel.Session
	for range 5 {
		s, _, err := w.join(tunnel.TCP, cfg, hello)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	w.online(identity.Device(td, serial), 3)
	for i, s := range sessions {
		if i < 2 {
			<-s.Done()
		} else if s.Err() != nil {
			t.Errorf("session %d ended: %v", i, s.Err())
		}
	}
}
