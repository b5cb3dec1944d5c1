package main

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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// pbxFlags say how to reach a PBX's own API.
type pbxFlags struct{ url, ca, user, passwordFile string }

// pbxClient talks to a PBX's own API as its administrator.
type pbxClient struct {
	base           string // without a slash at the end
	http           *http.Client
	user, password string
}

const (
	// pbxTimeout bounds one request to a PBX.
	pbxTimeout = 30 * time.Second
	// maxPBXAnswer bounds what a PBX can have the program read.
	maxPBXAnswer = 1 << 20
)

// open checks the address and reads the password.
func (f pbxFlags) open(cmd *cobra.Command) (*pbxClient, error) {
	u, err := url.Parse(f.url)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		err = fmt.Errorf("%q is not the address of a PBX, such as https://192.0.2.1", f.url)
	case u.Scheme == "http" && !configs.IsLoopback(u.Hostname()):
		err = fmt.Errorf("%s: plain http is for this machine only; a password would be readable on the way", f.url)
	}
	if err != nil {
		return nil, &cli.Hint{Err: fmt.Errorf("--pbx: %w", err), ExitCode: cli.ExitUsage}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if f.ca != "" {
		if transport.TLSClientConfig, err = rootsOf(f.ca); err != nil {
			return nil, err
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	password, err := readPassword(cmd, f.passwordFile, "Password of "+f.user+" at the PBX")
	if err != nil {
		return nil, err
	}
	return &pbxClient{base: strings.TrimSuffix(f.url, "/"), http: &http.Client{Transport: transport, Jar: jar}, user: f.user, password: password}, nil
}

// do sends in, where it is not nil, and reads the answer into out, where that is not
// nil. set changes the request before it goes.
func (p *pbxClient) do(ctx context.Context, method, path string, in, out any, set ...func(*http.Request)) error {
	ctx, cancel := context.WithTimeout(ctx, pbxTimeout)
	defer cancel()
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	for _, f := range set {
		f(r)
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := json.NewDecoder(io.LimitReader(resp.Body, maxPBXAnswer))
	if resp.StatusCode/100 != 2 {
		var problem struct{ Title, Code, Detail string }
		if answer.Decode(&problem) != nil || problem.Title == "" {
			return fmt.Errorf("%s %s%s: %s", method, p.base, path, resp.Status)
		}
		return fmt.Errorf("%s %s (%s, status %d)", problem.Title, problem.Detail, problem.Code, resp.StatusCode)
	}
	if out == nil {
		return nil
	}
	return answer.Decode(out)
}

// errCode: the PBX shows another code than the control centre.
var errCode = errors.New("the PBX shows another code: it was not given this offer")

// enable types the token of an offer, as the administrator does on the page CCC, after
// it has compared the code as he would.
func (p *pbxClient) enable(ctx context.Context, offer client.Offer) error {
	basic := func(r *http.Request) { r.SetBasicAuth(p.user, p.password) }
	if err := p.do(ctx, http.MethodPost, "/api/v1/login", nil, nil, basic); err != nil {
		return fmt.Errorf("sign in at the PBX: %w", err)
	}
	var shown struct {
		Offers []struct {
			ID   string `json:"id"`
			Code string `json:"code"`
		} `json:"offers"`
	}
	if err := p.do(ctx, http.MethodGet, "/api/v1/ccc", nil, &shown); err != nil {
		return fmt.Errorf("offers of the PBX: %w", err)
	}
	for _, o := range shown.Offers {
		if o.ID == offer.ID && o.Code != offer.Code {
			return errCode
		}
	}
	body := struct {
		Token    string `json:"token"`
		Password string `json:"password"`
		Offer    string `json:"offer"`
	}{offer.Token, p.password, offer.ID}
	if err := p.do(ctx, http.MethodPost, "/api/v1/ccc/enable", body, nil); err != nil {
		return fmt.Errorf("type the token at the PBX: %w", err)
	}
	return nil
}
