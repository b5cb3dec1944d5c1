package relay_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// A device reaches a service that the relay dials, if a rule lets it.
func TestForward(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	w := newWorld(t, func(c *relay.Config) {
		c.Services = map[string]string{"pki": ln.Addr().String(), "gone": gone.Addr().String(), "secret": ln.Addr().String()}
		c.Policy = append(c.Policy,
			relay.Rule{Caller: "device", Target: "service/pki", Services: []string{"pki"}, Raw: true, Serials: []string{"0*"}},
			relay.Rule{Caller: "device", Target: "service/gone", Services: []string{"gone"}, Raw: true},
			relay.Rule{Caller: "device", Target: "service/away", Services: []string{"away"}, Raw: true})
	})
	for _, transport := range []string{agent.TransportQUIC, agent.TransportTCP} {
		a, stop := w.device(serial, transport, nil)
		w.online(identity.Device(td, serial), 1)
		ctx := timeout(t, 20*time.Second)
		var c net.Conn
		eventually(t, 10*time.Second, "the device calls the PKI", func() bool {
			c, err = a.DialRaw(ctx, "pki") // the relay knows of the tunnel a little earlier than the device
			return err == nil
		})
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, c); got != "hello" {
			t.Errorf("%s: echo is %q", transport, got)
		}
		_ = c.Close()
		for name, want := range map[string]tunnel.Code{
			"gone": tunnel.CodeNotReachable, "secret": tunnel.CodePolicyDenied, "away": tunnel.CodeNotReachable, "PKI": tunnel.CodeProtocol,
		} {
			if _, err := a.DialRaw(ctx, name); tunnel.CodeOf(err) != want {
				t.Errorf("%s: %s: %v, want %v", transport, name, err, want)
			}
		}
		// Not one of ours at the other end, which could do our end-to-end TLS.
		if _, err := a.Dial(ctx, "pki", "pki"); tunnel.CodeOf(err) != tunnel.CodePolicyDenied {
			t.Errorf("%s: with TLS of ours: %v", transport, err)
		}
		stop()
		w.online(identity.Device(td, serial), 0)
	}
}

func TestForwardConfig(t *testing.T) {
	t.Parallel()
	for services, good := range map[[2]string]bool{
		{"pki", "pki.example.net:8443"}: true, {"pki", "pki.example.net"}: false, {"", "a:1"}: false, {"PKI", "a:1"}: false,
	} {
		c := relay.DefaultConfig()
		c.Services = map[string]string{services[0]: services[1]}
		if err := c.Validate(); (err == nil) != good {
			t.Errorf("%v: %v", services, err)
		}
	}
}
