package signin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/mail/mailtest"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// TestMailAndProvider: in a real browser somebody takes up an invitation whose mail came
// through a real mail server, gets a new password in the same way, and somebody else signs
// in at a real OpenID provider.
func TestMailAndProvider(t *testing.T) {
	t.Parallel()
	server := mailtest.Start(t)
	// The script asks for the last mail to an address.
	inbox := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		for range r.URL.Query()["n"] {
			n++
		}
		all := server.Wait(r.URL.Query().Get("to"), n)
		_, _ = w.Write([]byte(all[len(all)-1].Plain))
	}))
	t.Cleanup(inbox.Close)
	var handler http.Handler
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(provider.Close)
	issuer := strings.Replace(provider.URL, "127.0.0.1", "localhost", 1)
	handler = exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), slog.New(slog.DiscardHandler), false)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("s3cret"), 0o600))
	browse(t, "testdata/mail.mjs", func(p *parts) {
		storage.RegisterClients(storage.WebClient("ccc-browser", "s3cret", p.url+"/oidc"))
		p.OIDC = []account.Provider{{
			ID: "zitadel", Name: "Zitadel", Tenant: musterfirma, Issuer: issuer, ClientID: "ccc-browser", ClientSecretFile: configs.SecretFile(secret),
			JustInTime: true, EmailDomains: []string{"zitadel.ch"}, Ceiling: []store.Role{store.RoleMonitoring}, DefaultRoles: []store.Role{store.RoleMonitoring},
		}}
		p.SecondFactor = account.Offered
		out, err := mail.New(mail.Config{
			Server: server.Addr, CAFile: server.CAFile, User: server.User, PasswordFile: server.PasswordFile, From: "ccc@example.net", Store: p.db, Keys: p.keys,
		})
		must(t, err)
		p.Mail = out
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- out.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Run gives %v", err)
			}
		})
	}, map[string]any{"inbox": inbox.URL, "issuer": issuer})
}
