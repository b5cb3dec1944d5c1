package remote_test

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// TestFlowBrowser goes the whole way in a real browser: the pages of the control centre,
// those of the PBX in its local network, and those of the PBX through the gateway. It does
// so in English, and in the languages of AUER_TEST_LANGUAGES, as in "de,en,fr". With
// AUER_TEST_SCREENSHOTS it leaves pictures in that directory.
func TestFlowBrowser(t *testing.T) {
	t.Parallel()
	script := newScript(t, "flow.mjs")
	dist := filepath.Join(script.ui, "dist")
	if _, err := os.Stat(filepath.Join(dist, "index.html")); err != nil {
		t.Skip("the pages are not built: make ui builds them")
	}
	lang, err := filepath.Abs("../../pbx/pages/lang")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	f, _ := startFlow(ctx, t, world.Config{CentreSet: cheapHash, CentrePages: os.DirFS(dist)})
	const colleague = "remote@example.com"
	f.must(ctx, f.asker, http.MethodPost, "users", api.NewUser{
		NewPerson: api.NewPerson{Email: colleague, Name: "Remo", Language: store.English, Password: otherPassword},
		Roles:     []api.RoleGrant{{Role: store.RoleRemote}},
	}, nil)
	password, err := f.w.Centre().AdminPassword()
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.w.PBX(0).FirstPassword()
	if err != nil {
		t.Fatal(err)
	}
	script.run(ctx, f.w, "", "", map[string]any{
		"languages": strings.Split(cmp.Or(os.Getenv("AUER_TEST_LANGUAGES"), "en"), ","), "lang": lang, "email": f.w.Centre().Email, "password": password, "system": f.system, "colleague": colleague, "otherPassword": otherPassword,
		"pbx": map[string]string{"url": f.w.PBX(0).URL, "password": first},
	})
}
