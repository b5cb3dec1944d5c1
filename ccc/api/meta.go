package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

type metaInput struct{ host string }

// Resolve takes the host that the client asked for.
func (m *metaInput) Resolve(ctx huma.Context) []error {
	m.host = hostOf(&http.Request{Host: ctx.Host()})
	return nil
}

func (a *API) getMeta(_ context.Context, in *metaInput) (*body[Meta], error) {
	return &body[Meta]{Body: Meta{
		Brand: a.brand(in.host), Version: configs.Version(), Languages: []string{"de", "en", "fr"}, Now: time.Now().UTC(),
		Passkeys: a.cfg.Accounts.PasskeysHere(in.host), Providers: a.providers(""), Mail: a.cfg.Accounts.HasMail(),
	}}, nil
}

// brand gives the one for a host, else the first.
func (a *API) brand(host string) Brand {
	for _, b := range a.cfg.Brands {
		if slices.Contains(b.Hosts, host) {
			return b.public()
		}
	}
	return a.cfg.Brands[0].public()
}
