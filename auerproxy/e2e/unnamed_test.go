package e2e

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// recorded is a stream whose bytes are kept.
type recorded struct {
	tunnel.Stream
	rec *recorder
}

func (r recorded) Write(p []byte) (int, error) { return r.rec.Write(p) }

// TestUnnamedFlow: nothing that either side sends in the clear names anybody; the
// control is the same flow with its name.
func TestUnnamedFlow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		client func(w *world, st tunnel.Stream) (*Flow, error)
		names  bool
	}{
		"unnamed": {func(w *world, st tunnel.Stream) (*Flow, error) {
			return ClientTLSUnnamed(w.ctx, st, w.callerCreds, pbx)
		}, false},
		"named (control)": {func(w *world, st tunnel.Stream) (*Flow, error) { return ClientTLS(w.ctx, st, w.callerCreds, pbx) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			near, far := w.streams()
			toDevice, toCaller := &recorder{Conn: near}, &recorder{Conn: far}
			served := make(chan *Flow, 1)
			go func() {
				f, err := ServerTLS(w.ctx, recorded{far, toCaller}, w.pbxCreds, tls.RequireAndVerifyClientCert, identity.Exactly(ccc))
				if err != nil {
					t.Error(err)
				}
				served <- f
			}()
			c, err := tt.client(w, recorded{near, toDevice})
			if err != nil {
				t.Fatal(err)
			}
			s := <-served
			if s == nil || s.Peer() != ccc || c.Peer() != pbx {
				t.Fatalf("peers %v, %v", s, c.Peer())
			}
			for _, text := range []string{pbx.Name, pbx.DNSName(), ccc.Name + ".", "spiffe", "comtrexx"} {
				if toCaller.saw(text) {
					t.Errorf("the device shows %q", text)
				}
				if !tt.names && toDevice.saw(text) {
					t.Errorf("the caller shows %q", text)
				}
			}
			if tt.names && !toDevice.saw(pbx.Name) {
				t.Error("the recorder does not see a name where there is one")
			}
			_, _ = c.Close(), s.Close()
		})
	}
}

// TestUnnamedFlowVerifies: what crypto/tls would verify is verified.
func TestUnnamedFlowVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unnamed := func(st tunnel.Stream) (net.Conn, error) {
		f, err := ClientTLSUnnamed(w.ctx, st, w.callerCreds, pbx)
		return f, err
	}
	other := identity.Device(td, "0000000001")
	for name, tt := range map[string]struct {
		shows tls.Certificate
		want  tunnel.Code // of the caller
	}{
		"the device":        {w.ca.Issue(pbx, pkitest.Options{}), tunnel.CodeOK},
		"another device":    {w.ca.Issue(other, pkitest.Options{}), tunnel.CodeRelayUntrusted},
		"a relay":           {w.ca.Issue(identity.Relay(td, "r1"), pkitest.Options{}), tunnel.CodeRelayUntrusted},
		"foreign authority": {pkitest.New(t, td).Issue(pbx, pkitest.Options{}), tunnel.CodeUnknownAuthority},
		"expired":           {w.ca.Issue(pbx, pkitest.Options{NotAfter: time.Now().Add(-time.Hour)}), tunnel.CodeCertificateExpired},
	} {
		c, s, cerr, serr := w.flows(tls.RequireAndVerifyClientCert, w.ca.CredentialsWith(tt.shows), unnamed)
		if tunnel.CodeOf(cerr) != tt.want {
			t.Errorf("%s: %v, want %s", name, cerr, tt.want)
		}
		if tt.want == tunnel.CodeOK && serr == nil {
			_, _ = c.Close(), s.Close()
		}
	}
}
