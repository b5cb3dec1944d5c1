package pairing_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/e2e/browser"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// TestBrowser pairs and dissolves in a real browser, in each language: the pages of the
// control centre in one window and those of the PBX in another.
func TestBrowser(t *testing.T) {
	t.Parallel()
	b := browser.Find(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	w := start(ctx, t, world.Config{Kind: world.Processes, DeviceCount: 3})
	if err := w.AwaitNames(ctx); err != nil {
		t.Fatal(err)
	}
	c := w.Centre()
	password, err := c.AdminPassword()
	if err != nil {
		t.Fatal(err)
	}
	lang, err := filepath.Abs("../../pbx/pages/lang")
	if err != nil {
		t.Fatal(err)
	}
	type site struct {
		Serial   string `json:"serial"`
		URL      string `json:"url"`
		Password string `json:"password"`
	}
	about := map[string]any{
		"lang": lang,
		"ccc":  c.HTTP, "email": c.Email, "password": password, "tenant": "Musterfirma GmbH",
	}
	var sites []site
	for i := range w.Devices() {
		first, err := firstPassword(w, i)
		if err != nil {
			t.Fatal(err)
		}
		sites = append(sites, site{string(w.Device(i)), w.PBX(i).URL, first})
	}
	about["pbxs"] = sites
	b.Run(ctx, t, "testdata/browser.mjs", about)
}
