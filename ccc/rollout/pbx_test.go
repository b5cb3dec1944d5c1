package rollout

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// web is the interface of a PBX, whose session a test can end.
type web struct {
	mu      sync.Mutex
	logins  int
	session string
	answer  string
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	switch {
	case r.URL.Path == "/api/v1/login" && user == "ccc" && password == "secret":
		s.logins++
		http.SetCookie(w, &http.Cookie{Name: pbxweb.Cookie, Value: s.session})
	case r.Header.Get("Cookie") != pbxweb.Cookie+"="+s.session:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("ETag", `"7"`)
		_, _ = io.WriteString(w, s.answer)
	}
}

// A login is used again, and replaced when the PBX does not know it any more.
func TestConnector(t *testing.T) {
	t.Parallel()
	keys, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	pair := store.Pairing{ID: store.NewID[store.PairingID](), Serial: "0000000001"}
	var err1, err2 error
	pair.UserSealed, err1 = keys.Seal("pairing user", string(pair.ID), []byte("ccc"))
	pair.PasswordSealed, err2 = keys.Seal("pairing password", string(pair.ID), []byte("secret"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	s := &web{session: "one", answer: `{"ntp_server": "a"}`}
	server := &http.Server{Handler: s} //nolint:gosec // of a test
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	c := NewConnector(Config{Calls: 1}, keys, func(ctx context.Context, serial identity.Serial, service string) (net.Conn, error) {
		if serial != pair.Serial || service != "web" {
			t.Errorf("%s of %s is called", service, serial)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	})
	pbx := c.Connect(pair)
	want := func(logins int) {
		t.Helper()
		version, values, err := pbx.Settings(t.Context())
		if err != nil || version != "7" || string(values["ntp_server"]) != `"a"` {
			t.Fatalf("%s, %s, %v", version, values, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.logins != logins {
			t.Errorf("%d logins, want %d", s.logins, logins)
		}
	}
	want(1)
	want(1)
	s.mu.Lock()
	s.session = "two"
	s.mu.Unlock()
	want(2)
	for _, nonsense := range []string{`[]`, `{"ntp_server":{}}`, `{"Ntp":1}`, ``} {
		s.mu.Lock()
		s.answer = nonsense
		s.mu.Unlock()
		if _, _, err := pbx.Settings(t.Context()); !errors.Is(err, pbxweb.ErrAnswer) {
			t.Errorf("%s gives %v", nonsense, err)
		}
	}
	pair.ID, pair.UserSealed = store.NewID[store.PairingID](), nil
	if _, _, err := c.Connect(pair).Settings(t.Context()); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("without its user: %v", err)
	}
}
