package agent

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Somebody on the path answers the first bytes with a TLS alert, for which he needs no
// key: certificate_revoked, or access_denied. That is no verdict on the device, or he
// could make it give up what it has with the cloud. A relay's own is one, see
// TestRefusedInTLSOrAtWelcome of package relay.
func TestForgedAlert(t *testing.T) {
	t.Parallel()
	for name, alert := range map[string]byte{"certificate_revoked": 44, "access_denied": 49, "bad_certificate": 42, "unknown_ca": 48} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = io.ReadFull(c, make([]byte, 5))
					_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, alert}) // RFC 8446 §5.1 and §6
					_, _ = io.Copy(io.Discard, c)
					_ = c.Close()
				}
			}()
			a, err := New(Config{
				Relays: []string{ln.Addr().String()}, Credentials: pkitest.New(t, td).Credentials(self), Transport: TransportTCP,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() { over <- a.Run(ctx) }()
			until(t, "the failure is known", func() bool { return a.Status().Slots[0].LastError != "" })
			if st := a.Status().Slots[0]; st.LastCode != tunnel.CodeUnreachable || st.State == StateRefused {
				t.Errorf("status %+v, want %s", st, tunnel.CodeUnreachable)
			}
			cancel()
			if err := <-over; err != nil {
				t.Error(err)
			}
			_ = ln.Close()
			<-done
		})
	}
}
