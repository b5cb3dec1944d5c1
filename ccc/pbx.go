package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// pbxFlags say how to reach a PBX's own API.
type pbxFlags struct{ url, ca, user, passwordFile string }

// pbxClient is signed in at a PBX.
type pbxClient struct {
	*client
	user, password string
}

// open checks the address and reads the password.
func (f pbxFlags) open(cmd *cobra.Command) (*pbxClient, error) {
	c, err := newClient(f.url, f.ca)
	if err != nil {
		return nil, &cli.Hint{Err: fmt.Errorf("--pbx: %w", err), ExitCode: cli.ExitUsage}
	}
	password, err := readPassword(cmd, f.passwordFile, "Password of "+f.user+" at the PBX")
	if err != nil {
		return nil, err
	}
	return &pbxClient{client: c, user: f.user, password: password}, nil
}

// errCode: the PBX shows another code than the control centre.
var errCode = errors.New("the PBX shows another code: it was not given this offer")

// enable types the token of an offer, as the administrator does on the page CCC, after
// it has compared the code as he would.
func (p *pbxClient) enable(ctx context.Context, offer api.Offer) error {
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
