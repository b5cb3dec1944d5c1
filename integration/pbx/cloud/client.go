package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Client is a person at the control centre's API. Its methods may be called at once.
type Client struct {
	base   string
	tenant string // that requests are about; empty: the person's own
	http   *http.Client
}

// In gives the same person, with requests about another tenant.
func (c *Client) In(tenant string) *Client {
	in := *c
	in.tenant = tenant
	return &in
}

// request makes a request.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err == nil && c.tenant != "" {
		req.Header.Set("Auer-Tenant", c.tenant)
	}
	return req, err
}

// SignIn makes a client and signs in.
func SignIn(ctx context.Context, a Access) (*Client, error) {
	password, err := configs.SecretFile(a.PasswordFile).Read()
	if err != nil {
		return nil, fmt.Errorf("password of %s: %w", a.Email, err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c := &Client{base: a.URL + api.Prefix, http: &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	err = c.Do(ctx, http.MethodPost, "/session", api.Credentials{Email: a.Email, Password: string(password)}, nil)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("sign in at %s: %w", a.URL, err)
	}
	return c, nil
}

// Close ends the connections that wait for the next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do makes a request below [api.Prefix]. Bodies are JSON; in and out may be nil. What
// refuses is an [api.Problem].
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	if method == http.MethodPatch {
		req.Header.Set("If-Match", "*")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= http.StatusMultipleChoices:
		p := &api.Problem{Title: resp.Status, Status: resp.StatusCode}
		_ = json.Unmarshal(text, p) // else the status has to do
		return fmt.Errorf("%s %s: %w", method, path, p)
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

// Save saves a system and makes an offer for it.
func (c *Client) Save(ctx context.Context, s identity.Serial, name string) (made api.SystemOffer, err error) {
	err = c.Do(ctx, http.MethodPost, "/systems", api.NewSystem{Serial: string(s), Name: name}, &made)
	return made, err
}

// Renew makes a new offer for a system that is not paired.
func (c *Client) Renew(ctx context.Context, id string) (o api.Offer, err error) {
	err = c.Do(ctx, http.MethodPost, "/systems/"+url.PathEscape(id)+"/offer", nil, &o)
	return o, err
}

// Offer saves a system, or makes a new offer for the one that has the serial already.
func (c *Client) Offer(ctx context.Context, s identity.Serial, name string) (made api.SystemOffer, err error) {
	made, err = c.Save(ctx, s, name)
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Code != api.CodeSerialTaken {
		return made, err
	}
	if made.System, err = c.Find(ctx, s); err != nil {
		return made, err
	}
	made.Offer, err = c.Renew(ctx, made.System.ID)
	return made, err
}

// Find gives the system of a serial.
func (c *Client) Find(ctx context.Context, s identity.Serial) (api.System, error) {
	var list api.SystemList
	err := c.Do(ctx, http.MethodGet, "/systems?q="+url.QueryEscape(string(s)), nil, &list)
	if err != nil {
		return api.System{}, err
	}
	for _, sys := range list.Items {
		if sys.Serial == string(s) {
			return sys, nil
		}
	}
	return api.System{}, fmt.Errorf("the control centre has no system of %s", s)
}

// Step is one of a pairing that is done.
type Step string

// The steps, in order: the token is there, the PBX has the offer, and the control centre
// says that it is paired.
const (
	StepSaved   Step = "saved"
	StepOffered Step = "offered"
	StepPaired  Step = "paired"
)

// Pair pairs a PBX as a person would: saves it, waits until it has the offer, types the
// token there, and waits until the page shows that it is paired. did, where it is not
// nil, is called after each step. The error says which step was not made.
func (c *Client) Pair(ctx context.Context, l *Live, p *pbx.PBX, name string, did func(Step)) error {
	if did == nil {
		did = func(Step) {}
	}
	made, err := c.Offer(ctx, p.Serial(), name)
	if err != nil {
		return fmt.Errorf("%s: save: %w", p.Serial(), err)
	}
	did(StepSaved)
	if err := AwaitOffer(ctx, p, made.Offer); err != nil {
		return err
	}
	did(StepOffered)
	if err := p.Enable(ctx, made.Offer.Token, wire.OfferID(made.Offer.ID)); err != nil && !errors.Is(err, pbx.ErrPending) {
		return fmt.Errorf("%s: the token is typed: %w", p.Serial(), err)
	}
	if err := l.Await(ctx, made.System.ID, store.StatePaired); err != nil {
		return fmt.Errorf("%s: not paired: %w", p.Serial(), err)
	}
	did(StepPaired)
	return nil
}

// AwaitOffer waits until a PBX has an offer.
func AwaitOffer(ctx context.Context, p *pbx.PBX, o api.Offer) error {
	err := Poll(ctx, func() (bool, error) {
		_, ok := p.State().Offer(wire.OfferID(o.ID))
		return ok, nil
	})
	if err != nil {
		return fmt.Errorf("%s: no offer: %w", p.Serial(), err)
	}
	return nil
}
