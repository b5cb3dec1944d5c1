package pairing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// person is somebody at an API: of the control centre, or of a PBX.
type person struct {
	base string
	http *http.Client
}

func newPerson(t testing.TB, base string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &person{base: base, http: &http.Client{Jar: jar, Transport: tr, Timeout: patience}}
}

// answer is one that is not a success.
type answer struct {
	status int
	code   string
	text   string
}

func (a *answer) Error() string { return fmt.Sprintf("%d %s: %s", a.status, a.code, a.text) }

// do sends JSON and reads some into out, unless that is nil.
func (p *person) do(ctx context.Context, method, path string, in, out any, prepare ...func(*http.Request)) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.base+"/api/v1/"+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, f := range prepare {
		f(req)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var problem struct {
			Code string `json:"code"`
		}
		_ = json.Unmarshal(text, &problem) // the text is in the answer as well
		return &answer{resp.StatusCode, problem.Code, string(text)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// customer signs in as the first administrator of the control centre.
func customer(ctx context.Context, t testing.TB, w *world.World) *person {
	t.Helper()
	c := w.Centre()
	password, err := c.AdminPassword()
	if err != nil {
		t.Fatal(err)
	}
	p := newPerson(t, c.HTTP)
	if err := p.do(ctx, http.MethodPost, "session", api.Credentials{Email: c.Email, Password: password}, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// installer signs in as the administrator of device i, in its local network.
func installer(ctx context.Context, t testing.TB, w *world.World, i int) *person {
	t.Helper()
	p := newPerson(t, w.PBX(i).URL)
	eventually(ctx, t, "sign in at the PBX", func() error { return p.signInAt(ctx, w, i) })
	return p
}

func (p *person) signInAt(ctx context.Context, w *world.World, i int) error {
	password, err := firstPassword(w, i)
	if err != nil {
		return err
	}
	return p.do(ctx, http.MethodPost, "login", nil, nil, func(r *http.Request) { r.SetBasicAuth("admin", password) })
}

func firstPassword(w *world.World, i int) (string, error) {
	text, err := os.ReadFile(w.PBX(i).PasswordFile)
	return strings.TrimSpace(string(text)), err
}

// local is what a PBX says of the control centre.
type local struct {
	Enabled bool `json:"enabled"`
	Paired  *struct {
		Pairing, Tenant, User string
	} `json:"paired"`
	Offers []struct {
		ID, Tenant, Code string
	} `json:"offers"`
}

func (p *person) local(ctx context.Context) (l local, err error) {
	err = p.do(ctx, http.MethodGet, "ccc", nil, &l)
	return l, err
}

// users are the names of a PBX's users.
func (p *person) users(ctx context.Context) (names []string, err error) {
	var list struct {
		Users []struct{ Name string } `json:"users"`
	}
	err = p.do(ctx, http.MethodGet, "users", nil, &list)
	for _, u := range list.Users {
		names = append(names, u.Name)
	}
	return names, err
}

// save adds a PBX in the control centre.
func (p *person) save(ctx context.Context, serial, name string) (s api.SystemOffer, err error) {
	err = p.do(ctx, http.MethodPost, "systems", api.NewSystem{Serial: serial, Name: name}, &s)
	return s, err
}

func (p *person) system(ctx context.Context, id string) (s api.System, err error) {
	err = p.do(ctx, http.MethodGet, "systems/"+id, nil, &s)
	return s, err
}

// enable types the token at the PBX.
func (p *person) enable(ctx context.Context, w *world.World, i int, token string) error {
	password, err := firstPassword(w, i)
	if err != nil {
		return err
	}
	return p.do(ctx, http.MethodPost, "ccc/enable", map[string]string{"token": token, "password": password}, nil)
}
