package pbx

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/tlsend"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestTLSEnd: a session of the service tls is taken where there is such TLS, and its pages
// are those of the one name that the certificate has.
func TestTLSEnd(t *testing.T) {
	t.Parallel()
	sealed := func(r *wire.Remote) { r.Service = grant.TLS }
	without := newBox(t)
	without.switchRemote(t, true)
	without.pair(t)
	if _, err := without.askRemote(t, without.ccc.remoteRequest("s-1", sealed)); wire.CodeOf(err) != wire.CodeNoTarget {
		t.Errorf("without such TLS: %v", err)
	}
	b := newBox(t, func(c *Config) {
		c.TLSEnd = tlsend.Config{Domain: "pbx.ara.comtrexx.test", Directory: "https://pki.test/acme/srv-pbx/directory"}
	})
	b.switchRemote(t, true)
	b.pair(t)
	if st, err := b.askRemote(t, b.ccc.remoteRequest("s-1", sealed)); st != grant.Pending || err != nil {
		t.Errorf("%s, %v", st, err)
	}
	if err := b.Remote().Allow("s-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	for service, want := range map[grant.Service]bool{grant.TLS: true, grant.Web: false, grant.TCP: false} {
		if s, err := b.Remote().Admit(grant.SessionID("s-1").Purpose(), service, func() {}); (err == nil) != want {
			t.Errorf("a call to %s: %v", service, err)
		} else if err == nil {
			s.Close()
		}
	}
	name := "s" + string(serial) + ".pbx.ara.comtrexx.test"
	for host, want := range map[string]int{
		name: http.StatusOK, name + ":8443": http.StatusOK, strings.ToUpper(name): http.StatusOK,
		"s9999999999.pbx.ara.comtrexx.test": http.StatusMisdirectedRequest, "127.0.0.1": http.StatusMisdirectedRequest, "": http.StatusMisdirectedRequest,
	} {
		r, w := httptest.NewRequest(http.MethodGet, "/login", nil), httptest.NewRecorder()
		r.Host, r.TLS = host, &tls.ConnectionState{}
		b.ownName(b.Handler()).ServeHTTP(w, r)
		if w.Code != want || (w.Header().Get("Strict-Transport-Security") != "") != (want == http.StatusOK) {
			t.Errorf("%q: %d %v", host, w.Code, w.Header())
		}
	}
}
