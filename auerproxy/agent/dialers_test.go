package agent

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// The TCP transport asks the proxy, with the password of its own file; what the
// proxy answers is told to people, the password is not.
func TestProxyIsAsked(t *testing.T) {
	t.Parallel()
	asked := make(chan *http.Request, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.Clone(context.WithoutCancel(r.Context())):
		default:
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	a, err := New(Config{
		Relays: []string{"relay.comtrexx.test:7844"}, Credentials: pkitest.New(t, td).Credentials(self),
		Transport: TransportTCP, Proxy: proxy.URL, ProxyAuth: "user:sec:ret",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r := <-asked
	r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization")) // for BasicAuth
	user, password, _ := r.BasicAuth()
	if r.Method != http.MethodConnect || r.Host != "relay.comtrexx.test:7844" || user != "user" || password != "sec:ret" {
		t.Errorf("%s %s as %q, %q", r.Method, r.Host, user, password)
	}
	until(t, "the failure is known", func() bool { return a.Status().Slots[0].LastError != "" })
	st := a.Status().Slots[0]
	if st.LastCode != tunnel.CodeUnreachable || !strings.Contains(st.LastError, "403") || strings.Contains(st.LastError, "sec:ret") {
		t.Errorf("status %+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A certificate that was renewed is not hidden behind a session of the old one.
func TestTicketsEndWithTheCertificate(t *testing.T) {
	t.Parallel()
	var tk tickets
	old := tk.cache(tunnel.QUIC, []byte("old"))
	if tk.cache(tunnel.QUIC, []byte("old")) != old || tk.cache(tunnel.TCP, []byte("old")) == old {
		t.Error("want one cache for each transport")
	}
	if tk.cache(tunnel.QUIC, []byte("new")) == old {
		t.Error("a new certificate with the tickets of the old one")
	}
}
