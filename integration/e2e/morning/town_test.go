package morning

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// password of everybody.
const password = "correct horse battery"

// The PBXs of the world: three that are found offline, two at the site where the NTP
// server is changed, and the reseller's own one.
const (
	pbxPower = iota
	pbxShutdown
	pbxBlocked
	pbxHamburg
	pbxHamburg2
	pbxBench
	pbxs
)

// names are what the PBXs are called.
var names = [pbxs]string{"Praxis Lübeck", "Praxis Kiel", "Praxis Bremen", "Praxis Hamburg", "Labor Hamburg", "Werkbank"}

// town is who there is.
type town struct {
	w                  *world.World
	reseller, customer *client.Client
	customerID         string
	systems            [pbxs]string // their ids
}

// signIn gives somebody at the control centre.
func signIn(ctx context.Context, w *world.World, email, password string) (*client.Client, error) {
	c, err := client.New(client.Config{URL: w.Centre().HTTP})
	if err != nil {
		return nil, err
	}
	_, err = c.SignIn(ctx, client.Credentials{Email: email, Password: password})
	return c, err
}

// settle makes the reseller and his customers, and pairs the PBXs.
func settle(ctx context.Context, t *testing.T, w *world.World) *town {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &town{w: w}
	first, err := w.Centre().AdminPassword()
	must(err)
	operator, err := signIn(ctx, w, w.Centre().Email, first)
	must(err)
	tenant := func(by *client.Client, kind, name, owner string) client.Tenant {
		made, err := by.CreateTenant(ctx, client.NewTenant{
			Kind: kind, Name: name, LegalName: name,
			Owner: client.NewPerson{Email: owner + "@example.test", Name: owner, Language: "de", Password: password},
		})
		must(err)
		return made
	}
	reseller := tenant(operator, "reseller", "Nordlicht Telefonbau GmbH", "nora")
	s.reseller, err = signIn(ctx, w, "nora@example.test", password)
	must(err)
	s.customerID = tenant(s.reseller, "customer", "Praxisverbund Nord GbR", "karla").ID
	tenant(s.reseller, "customer", "Autohaus Klein GmbH", "anton")
	s.customer, err = signIn(ctx, w, "karla@example.test", password)
	must(err)
	_, err = s.customer.CreateTenantGrant(ctx, client.NewTenantGrant{TenantID: reseller.ID, Roles: []string{"administrator", "monitoring", "auditor"}})
	must(err)
	hamburg, err := s.customer.CreateSite(ctx, client.NewSite{Name: "Hamburg"})
	must(err)
	for i := range pbxs {
		owner := s.customer
		if i == pbxBench {
			owner = s.reseller
		}
		made, err := owner.CreateSystem(ctx, client.NewSystem{Serial: string(w.Device(i)), Name: names[i]})
		must(err)
		s.systems[i] = made.System.ID
		must(enable(ctx, w, i, made.Offer.Token))
		if i == pbxHamburg || i == pbxHamburg2 {
			_, err := s.customer.UpdateSystem(ctx, made.System.ID, client.SystemChange{SiteID: &hamburg.ID}, &client.UpdateSystemParams{IfMatch: "*"})
			must(err)
		}
	}
	for i, id := range s.systems {
		owner := s.customer
		if i == pbxBench {
			owner = s.reseller
		}
		must(eventually(ctx, func() error {
			got, err := owner.GetSystem(ctx, id)
			if err == nil && (got.State != "paired" || !got.Online) {
				err = fmt.Errorf("%s is %s", names[i], got.State)
			}
			return err
		}))
	}
	return s
}

// eventually repeats a call until it succeeds.
func eventually(ctx context.Context, f func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// enable types a token at a PBX, as its administrator.
func enable(ctx context.Context, w *world.World, i int, token string) error {
	first, err := w.PBX(i).FirstPassword()
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	pbx := &http.Client{Jar: jar}
	defer pbx.CloseIdleConnections()
	post := func(path string, in any) error {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.PBX(i).URL+"/api/v1/"+path, bytes.NewReader(text))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth("admin", first)
		resp, err := pbx.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode >= http.StatusMultipleChoices {
			return fmt.Errorf("%s at PBX %d: %s", path, i, resp.Status)
		}
		return nil
	}
	if err := post("login", nil); err != nil {
		return err
	}
	// The offer is on its way.
	return eventually(ctx, func() error {
		return post("ccc/enable", map[string]string{"token": token, "password": first})
	})
}
