package clients

import (
	"context"
	"crypto/tls"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/integration/e2e/canary"
	"github.com/comtrexx-cloud/comtrexx/integration/e2e/curious"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// talker runs an agent at the relay whose service "talk" answers what it is asked
// with its own text.
func talker(t *testing.T, relay string, ca *pkitest.CA, transport string, answer []byte) {
	t.Helper()
	online := make(chan struct{})
	a, err := agent.New(agent.Config{
		Relays: []string{relay}, Credentials: ca.Credentials(identity.Device(td, serial)), Transport: transport,
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
				question, answer := canary.New(), canary.New()
				r := curious.Start(t, ca, transport)
				talker(t, r.Addr(), ca, transport, answer.Message(t))
				d, err := dial.New(dial.Config{Relays: []string{r.Addr()}, Credentials: caller, Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = d.Close() })

				got := talk(t, d, caller.ClientConfig(identity.Device(td, serial).DNSName(), nil), inner, question.Message(t))
				if len(got) != len(answer.Message(t)) {
					t.Fatalf("the device answers %q", got)
				}
				for direction, c := range map[string]canary.Canary{"to the device": question, "to the caller": answer} {
					forms := c.Found(t, r.Contains)
					switch all := len(c.Forms(t)); {
					case inner == dial.Raw && len(forms) != all:
						t.Errorf("control: without end-to-end TLS the relay has seen only %q of what went %s", forms, direction)
					case inner != dial.Raw && len(forms) != 0:
						t.Errorf("the relay has seen what went %s: %q", direction, forms)
					}
				}
				if least := len(question.Message(t)) + len(answer.Message(t)); r.Len() < least {
					t.Errorf("%d bytes have passed the relay, fewer than the %d sent", r.Len(), least)
				}
			})
		}
	}
}
