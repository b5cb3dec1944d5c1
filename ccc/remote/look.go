package remote

import (
	"context"
	"net/url"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Records gives a page of a tenant's records, the newest first, and the cursor of the
// next. Those of systems that are gone are among them.
func (b *Broker) Records(ctx context.Context, tenant store.TenantID, f store.RemoteFilter, p store.Page) (all []store.Remote, next string, err error) {
	err = b.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, next, err = tx.TenantRemotes(tenant, f, p)
		return err
	})
	return all, next, explain(err)
}

// Record gives one record of a tenant, whose system may be gone.
func (b *Broker) Record(ctx context.Context, tenant store.TenantID, id store.RemoteID) (r store.Remote, err error) {
	err = b.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		r, err = tx.TenantRemote(tenant, id)
		return err
	})
	return r, explain(err)
}

// Start is the address at which a browser begins a session at the gateway; empty where
// there is nothing to begin. The gateway sends the browser back to the control centre's
// page /remote/<session>, where it gets its grant.
func (b *Broker) Start(r store.Remote) string {
	if b.gateway == nil || r.State != grant.Pending && r.State != grant.Active {
		return ""
	}
	u := url.URL{Scheme: "https", Host: b.gateway.Host, Path: "/begin", RawQuery: url.Values{"session": {string(r.ID)}}.Encode()}
	return u.String()
}
