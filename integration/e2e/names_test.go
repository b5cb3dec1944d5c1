package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// A stock HTTP client uses a relay as its proxy, under a name for which the relay
// got a certificate by itself, and again at once after a restart while the PKI's
// ACME server sees no new order.
func TestRelayByName(t *testing.T) {
	t.Parallel()
	forEachKind(t, world.Config{DeviceCount: 1, Names: true}, func(ctx context.Context, t *testing.T, w *world.World) {
		if err := w.AwaitNames(ctx); err != nil {
			t.Fatal(err)
		}
		creds, _, err := w.Credentials(ctx, "ccc")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(w.Roots())
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		get := func(certs ...tls.Certificate) (string, error) {
			tr := &http.Transport{
				Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: w.RelayAddr(0)}),
				DialTLSContext: (&tls.Dialer{Config: &tls.Config{
					RootCAs: roots, ServerName: w.RelayName(0), NextProtos: []string{"http/1.1"}, Certificates: certs,
				}}).DialContext,
				TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs},
			}
			defer tr.CloseIdleConnections()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+identity.Device(identity.DefaultTrustDomain, w.Device(0)).DNSName()+"/facts.json", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Do(req)
			if err != nil {
				return "", err
			}
			return resp.Status, resp.Body.Close()
		}
		ok := func() error {
			status, err := get(creds.Certificate())
			if err == nil && status != "200 OK" {
				err = fmt.Errorf("status %s", status)
			}
			return err
		}
		eventually(ctx, t, "a page", ok) // the first measurement takes a moment
		if status, err := get(); err == nil {
			t.Errorf("without a client certificate: %s", status)
		}
		if err := w.KillRelay(0); err != nil {
			t.Fatal(err)
		}
		if err := w.StartRelay(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.AwaitDevices(ctx, 1); err != nil {
			t.Fatal(err)
		}
		eventually(ctx, t, "a page", ok)
	})
}
