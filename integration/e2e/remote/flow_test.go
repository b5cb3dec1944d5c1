package remote_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// cheapHash is the least that the control centre takes for a password.
var cheapHash = []string{"account.hash.memory=8MiB", "account.hash.passes=1", "account.hash.lanes=1"}

// passage is the whole way in one run: the real control centre, gateway, relay and PBX.
type passage struct {
	t      *testing.T
	w      *world.World
	roots  *x509.CertPool
	pbx    *person // its administrator, in the local network
	asker  *person // a technician of the customer
	system string
}

// startFlow starts a cloud of one paired PBX, where remote access is switched on, and a
// second system that no PBX has been paired for.
func startFlow(ctx context.Context, t *testing.T, kind world.Config) (f *passage, unpaired string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "f") // t.TempDir is too long for unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	kind.Dir, kind.Centre, kind.Gateway, kind.PBX, kind.DeviceCount, kind.Policy = dir, true, true, true, 1, policy
	w, err := world.Start(ctx, kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(w.AwaitDevices(ctx, 1), w.AwaitNames(ctx)); err != nil {
		t.Fatal(err)
	}
	s := newSite(ctx, t, w, 0)
	f = &passage{t: t, w: w, pbx: s.pbx, roots: x509.NewCertPool(), asker: f.owner(ctx, t, w)}
	text, err := os.ReadFile(w.Roots())
	if err != nil || !f.roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	var list api.SystemList
	var second api.SystemOffer
	err = errors.Join(
		f.asker.do(ctx, http.MethodGet, "systems", nil, &list),
		f.asker.do(ctx, http.MethodPost, "systems", api.NewSystem{Serial: "0123456789", Name: "Not paired"}, &second),
	)
	if err != nil || len(list.Items) != 1 {
		t.Fatal(list, err)
	}
	f.system = list.Items[0].ID
	return f, second.System.ID
}

// owner is the first administrator of the control centre, signed in.
func (*passage) owner(ctx context.Context, t *testing.T, w *world.World) *person {
	t.Helper()
	password, err := w.Centre().AdminPassword()
	if err != nil {
		t.Fatal(err)
	}
	p := newPerson(t, w.Centre().HTTP)
	if err := p.do(ctx, http.MethodPost, "session", api.Credentials{Email: w.Centre().Email, Password: password}, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

const otherPassword = "correct horse battery"

// as signs somebody else in.
func (f *passage) as(ctx context.Context, email string) *person {
	f.t.Helper()
	p := newPerson(f.t, f.w.Centre().HTTP)
	if err := p.do(ctx, http.MethodPost, "session", api.Credentials{Email: email, Password: otherPassword}, nil); err != nil {
		f.t.Fatal(err)
	}
	return p
}

// must calls the control centre, or a PBX.
func (f *passage) must(ctx context.Context, p *person, method, path string, in, out any) {
	f.t.Helper()
	if err := p.do(ctx, method, path, in, out); err != nil {
		f.t.Fatal(err)
	}
}

// refused wants a problem with a code.
func (f *passage) refused(ctx context.Context, what string, p *person, method, path string, in any, code api.Code) {
	f.t.Helper()
	err := p.do(ctx, method, path, in, nil)
	if err == nil || !strings.Contains(err.Error(), `"code":"`+string(code)+`"`) {
		f.t.Errorf("%s: %v, want %s", what, err, code)
	}
}

var wish = api.NewRemote{Reason: "no dial tone", Minutes: 30, Service: grant.Web}

// browser is one that follows nobody by itself, and has cookies.
func (f *passage) browser() *http.Client {
	f.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { // every name below the gateway's is there
			var d net.Dialer
			return d.DialContext(ctx, "tcp", f.w.Gateway().Addr)
		},
	}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Jar: jar, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// head is that of an answer, whose body was read.
type head struct {
	StatusCode int
	Status     string
	Header     http.Header
}

// get asks as a browser does.
func (f *passage) get(ctx context.Context, c *http.Client, at string, form url.Values) (h head, text string) {
	f.t.Helper()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return head{resp.StatusCode, resp.Status, resp.Header}, string(b)
}

// begin goes from where the control centre says to where the gateway sends the browser
// back, and gives what it adds.
func (f *passage) begin(ctx context.Context, c *http.Client, s api.RemoteSession) api.RemoteBrowser {
	f.t.Helper()
	if want := f.w.Gateway().URL + "/begin?session=" + s.ID; s.StartURL != want {
		f.t.Fatalf("it begins at %q, want %q", s.StartURL, want)
	}
	first, _ := f.get(ctx, c, s.StartURL, nil)
	second, _ := f.get(ctx, c, first.Header.Get("Location"), nil)
	back, err := url.Parse(second.Header.Get("Location"))
	if err != nil || back.Scheme+"://"+back.Host+back.Path != f.w.Centre().URL+"/remote/"+s.ID || second.Header.Get("Referrer-Policy") != "no-referrer" {
		f.t.Fatalf("back at %s, %v", back, err)
	}
	return api.RemoteBrowser{Label: back.Query().Get("label"), Browser: back.Query().Get("browser")}
}

// grantPath is where a grant of a session comes from.
func (f *passage) grantPath(s api.RemoteSession) string {
	return "systems/" + f.system + "/remote/" + s.ID + "/grant"
}

// enter gets a grant and brings it to the gateway, as the page of the control centre does.
// A gateway that has just started refuses grants, which could be from before: then the
// next one is taken, without another beginning.
func (f *passage) enter(ctx context.Context, c *http.Client, s api.RemoteSession, at api.RemoteBrowser) (origin, ticket string) {
	f.t.Helper()
	tries := 0
	eventually(ctx, f.t, "the grant is not taken", func() error {
		tries++
		var t api.RemoteTicket
		f.must(ctx, f.asker, http.MethodPost, f.grantPath(s), at, &t)
		resp, _ := f.get(ctx, c, t.URL, url.Values{"grant": {t.Grant}})
		if resp.StatusCode != http.StatusSeeOther {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		origin, ticket = strings.TrimSuffix(t.URL, "/.ara/redeem"), t.Grant
		return nil
	})
	f.t.Logf("let in with grant %d", tries)
	return origin, ticket
}

// record is what the control centre has of a session.
func (f *passage) record(ctx context.Context, id string) (s api.RemoteSession) {
	f.t.Helper()
	f.must(ctx, f.asker, http.MethodGet, "remote/"+id, nil, &s)
	return s
}

// TestFlow asks in the control centre, consents at the PBX, begins at the gateway, gets a
// grant, and sees a page of the PBX; the administrator of the PBX ends it, and the record
// says all that and stays as it is. What is denied on the way is denied for the same
// session that is let in.
func TestFlow(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f, unpaired := startFlow(ctx, t, world.Config{CentreSet: cheapHash})

	// Who must not ask.
	list := "systems/" + f.system + "/remote"
	f.must(ctx, f.asker, http.MethodPost, "users", api.NewUser{
		NewPerson: api.NewPerson{Email: "monitor@example.com", Name: "Mona", Language: store.English, Password: otherPassword},
		Roles:     []api.RoleGrant{{Role: store.RoleMonitoring}},
	}, nil)
	f.must(ctx, f.asker, http.MethodPost, "users", api.NewUser{
		NewPerson: api.NewPerson{Email: "remote@example.com", Name: "Remo", Language: store.English, Password: otherPassword},
		Roles:     []api.RoleGrant{{Role: store.RoleRemote}},
	}, nil)
	f.must(ctx, f.asker, http.MethodPost, "tenants", api.NewTenant{
		Kind: store.KindCustomer, Name: "Other GmbH",
		Owner: api.NewPerson{Email: "other@example.com", Name: "Otto", Language: store.English, Password: otherPassword},
	}, nil)
	viewer, colleague, foreigner := f.as(ctx, "monitor@example.com"), f.as(ctx, "remote@example.com"), f.as(ctx, "other@example.com")
	f.refused(ctx, "without pairing", f.asker, http.MethodPost, "systems/"+unpaired+"/remote", wish, api.CodeState)
	f.refused(ctx, "without the role", viewer, http.MethodPost, list, wish, api.CodeForbidden)
	f.refused(ctx, "another tenant", foreigner, http.MethodPost, list, wish, api.CodeNotFound)
	f.refused(ctx, "of what is missing", foreigner, http.MethodPost, "systems/missing/remote", wish, api.CodeNotFound)

	// The request waits for the PBX's administrator.
	var s api.RemoteSession
	f.must(ctx, f.asker, http.MethodPost, list, wish, &s)
	if s.State != grant.Pending || !s.Own || s.Minutes != 30 {
		t.Fatalf("asked: %+v", s)
	}
	c := f.browser()
	at := f.begin(ctx, c, s)
	f.refused(ctx, "a grant for a colleague", colleague, http.MethodPost, f.grantPath(s), at, api.CodeNotRequester)
	f.refused(ctx, "a grant without the role", viewer, http.MethodPost, f.grantPath(s), at, api.CodeForbidden)
	f.refused(ctx, "a grant for another tenant", foreigner, http.MethodPost, f.grantPath(s), at, api.CodeNotFound)
	f.refused(ctx, "the record for another tenant", foreigner, http.MethodGet, "remote/"+s.ID, nil, api.CodeNotFound)
	f.must(ctx, f.pbx, http.MethodPost, "remote/"+s.ID+"/allow", map[string]int{}, nil)
	eventually(ctx, t, "the consent", func() error {
		if s = f.record(ctx, s.ID); s.State != grant.Active || s.Until == nil {
			return fmt.Errorf("it is %s", s.State)
		}
		return nil
	})
	until := *s.Until

	// A grant that was not used is good for this browser and this label alone.
	thief := f.browser()
	theirs := f.begin(ctx, thief, s)
	var stolen api.RemoteTicket
	f.must(ctx, f.asker, http.MethodPost, f.grantPath(s), at, &stolen)
	for what, to := range map[string]string{"at another label": strings.Replace(stolen.URL, at.Label, theirs.Label, 1), "at its own label": stolen.URL} {
		if resp, _ := f.get(ctx, thief, to, url.Values{"grant": {stolen.Grant}}); resp.StatusCode < 400 {
			t.Errorf("a grant in another browser, %s: %s", what, resp.Status)
		}
	}
	origin, ticket := f.enter(ctx, c, s, at)
	if resp, text := f.get(ctx, c, origin+"/login", nil); resp.StatusCode != http.StatusOK || !strings.Contains(text, `name="password"`) {
		t.Fatalf("the PBX's page: %s %s", resp.Status, text)
	}
	if resp, _ := f.get(ctx, thief, origin+"/login", nil); resp.StatusCode == http.StatusOK {
		t.Error("another browser sees the PBX's page")
	}
	if resp, _ := f.get(ctx, c, origin+"/.ara/redeem", url.Values{"grant": {ticket}}); resp.StatusCode < 400 {
		t.Errorf("a grant a second time: %s", resp.Status)
	}
	f.notForAnother(ctx, s, ticket)

	// More grants: none of them gives a minute.
	for range 3 {
		f.must(ctx, f.asker, http.MethodPost, f.grantPath(s), theirs, nil)
	}
	if now := f.record(ctx, s.ID); !now.Until.Equal(until) {
		t.Errorf("it ends at %v, before the grants it was %v", now.Until, until)
	}
	f.ends(ctx, c, s, origin)
}

// notForAnother: a grant is not one for another session, which the same person has asked
// for, though browser and label are the right ones.
func (f *passage) notForAnother(ctx context.Context, s api.RemoteSession, ticket string) {
	f.t.Helper()
	var other api.RemoteSession
	f.must(ctx, f.asker, http.MethodPost, "systems/"+f.system+"/remote", wish, &other)
	c := f.browser()
	at := f.begin(ctx, c, other)
	var crossed, own api.RemoteTicket
	f.must(ctx, f.asker, http.MethodPost, f.grantPath(s), at, &crossed) // the right browser and label, and another session
	for what, text := range map[string]string{"used": ticket, "of another session": crossed.Grant} {
		if resp, _ := f.get(ctx, c, crossed.URL, url.Values{"grant": {text}}); resp.StatusCode < 400 {
			f.t.Errorf("a grant %s: %s", what, resp.Status)
		}
	}
	f.must(ctx, f.asker, http.MethodPost, f.grantPath(other), at, &own)
	if resp, _ := f.get(ctx, c, own.URL, url.Values{"grant": {own.Grant}}); resp.StatusCode != http.StatusSeeOther {
		f.t.Errorf("positive control: its own grant: %s", resp.Status)
	}
	f.must(ctx, f.asker, http.MethodDelete, "systems/"+f.system+"/remote/"+other.ID, nil, nil)
}

// ends has the PBX's administrator end it: what is open is cut within two seconds, and the
// record has who, why, from when to when, and how much.
func (f *passage) ends(ctx context.Context, c *http.Client, s api.RemoteSession, origin string) {
	f.t.Helper()
	before := time.Now()
	f.must(ctx, f.pbx, http.MethodPost, "remote/"+s.ID+"/end", nil, nil)
	eventually(ctx, f.t, "the end", func() error {
		if resp, text := f.get(ctx, c, origin+"/login", nil); resp.StatusCode < 400 || strings.Contains(text, `name="password"`) {
			return fmt.Errorf("the PBX's page: %s", resp.Status)
		}
		return nil
	})
	if took := time.Since(before); took > within {
		f.t.Errorf("it took %s to end", took)
	}
	var r api.RemoteSession
	eventually(ctx, f.t, "the last report", func() error {
		if r = f.record(ctx, s.ID); !r.Confirmed || r.State != grant.Ended {
			return fmt.Errorf("%s, confirmed %v", r.State, r.Confirmed)
		}
		return nil
	})
	if r.Cause != grant.CauseAdmin || r.Consent != "request" || r.StartedAt == nil || r.EndedAt == nil || r.EndedAt.Before(*r.StartedAt) ||
		r.BytesIn == 0 || r.BytesOut < 1000 || r.Reason != wish.Reason || r.Serial != string(f.w.Device(0)) || r.StartURL != "" {
		f.t.Errorf("the record is %+v", r)
	}
	f.refused(ctx, "a grant after the end", f.asker, http.MethodPost, f.grantPath(s), api.RemoteBrowser{
		Label: strings.Repeat("a", 26), Browser: "AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	}, api.CodeRemoteOver)
	// It stays as it is, also when somebody ends it once more.
	f.must(ctx, f.asker, http.MethodDelete, "systems/"+f.system+"/remote/"+s.ID, nil, nil)
	first, err1 := json.Marshal(r)
	again, err2 := json.Marshal(f.record(ctx, s.ID))
	if err := errors.Join(err1, err2); err != nil || string(first) != string(again) {
		f.t.Errorf("the record was %s, and is %s, %v", first, again, err)
	}
	var all api.RemoteList
	f.must(ctx, f.asker, http.MethodGet, "remote", nil, &all)
	if len(all.Items) != 2 || all.Items[1].ID != s.ID {
		f.t.Errorf("the list has %+v", all)
	}
	f.t.Logf("ended after %s; %d bytes in, %d out", time.Since(before), r.BytesIn, r.BytesOut)
}
