package rollout

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Nothing is begun before there is a call for the image, nor without one of it; a login that
// has ended is replaced, and is no refusal.
func TestInstall(t *testing.T) {
	t.Parallel()
	var inside, most, got, logins atomic.Int64
	var ended atomic.Bool // no login is good for an image
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/login" {
			logins.Add(1)
			http.SetCookie(w, &http.Cookie{Name: pbxweb.Cookie, Value: "s"})
			return
		}
		image, _ := io.ReadAll(r.Body)
		inside.Add(-1)
		if r.Method != http.MethodPut || r.URL.Path != "/api/v1/firmware" || string(image) != "image" {
			t.Errorf("%s %s: %q", r.Method, r.URL, image)
		}
		if ended.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		got.Add(1)
	}))
	t.Cleanup(server.Close)
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
	pbx := NewConnector(Config{Uploads: 1}, keys, func(ctx context.Context, _ identity.Serial, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
	}).Connect(pair)
	image := Image{
		Size: 5, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte("image"))), nil },
		Begin: func(context.Context) error {
			most.Store(max(most.Load(), inside.Add(1)))
			return nil
		},
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := pbx.Install(t.Context(), image, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || got.Load() != 8 || logins.Load() != 1 {
		t.Errorf("%d began at once, %d images came with %d logins; want 1, 8 and 1", most.Load(), got.Load(), logins.Load())
	}
	ended.Store(true)
	if err := pbx.Install(t.Context(), image, false); !errors.Is(err, errLogin) {
		t.Errorf("the login has ended: %v", err)
	}
	ended.Store(false)
	if err := pbx.Install(t.Context(), image, false); err != nil || logins.Load() != 2 {
		t.Errorf("after another login: %v, %d of them", err, logins.Load())
	}
	image.Begin = func(context.Context) error { return errSkip }
	if err := pbx.Install(t.Context(), image, false); !errors.Is(err, errSkip) || got.Load() != 9 {
		t.Errorf("one that is not to be sent: %v, %d came", err, got.Load())
	}
}
