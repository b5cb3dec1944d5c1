package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"regexp"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Ticket is what a browser posts to the gateway.
type Ticket struct {
	// Grant is secret until it was used. It goes into the body of a form, never into an
	// address.
	Grant string
	// URL is where it is to be posted.
	URL     string
	Expires time.Time
}

// label is that of a session's host at the gateway: 128 bits of base32.
var label = regexp.MustCompile(`^[a-z2-7]{26}$`)

// Grant lets the browser that began at the gateway go on there, as the user who has asked
// for the session. name is the label of its host at the gateway, browser the base64url of
// the SHA-256 of the secret that only this browser has. It is good once and for a minute,
// and says nothing about the time of the session: a new one extends nothing.
func (b *Broker) Grant(ctx context.Context, a Actor, system store.SystemID, id store.RemoteID, name, browser string) (Ticket, error) {
	var r store.Remote
	err := b.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if r, err = find(tx, a.Tenant, system, id); err != nil {
			return err
		}
		return b.grantable(tx, a, r)
	})
	if err != nil {
		return Ticket{}, explain(err)
	}
	hash, err := base64.RawURLEncoding.Strict().DecodeString(browser)
	var wrong []FieldError
	if err != nil || len(hash) != 32 || [32]byte(hash) == [32]byte{} {
		wrong = append(wrong, FieldError{"browser", "is not the base64url of 32 bytes"})
	}
	if !label.MatchString(name) {
		wrong = append(wrong, FieldError{"label", "is not one of the gateway's"})
	}
	if len(wrong) > 0 {
		return Ticket{}, &Error{Code: CodeInvalid, Fields: wrong}
	}
	host := name + "." + b.gateway.Hostname()
	issued := b.cfg.now().Truncate(time.Second)
	g := grant.Grant{
		ID: grant.ID(store.NewID[store.RemoteID]()), Audience: host, Session: grant.SessionID(r.ID), Serial: r.Serial, Epoch: r.Epoch,
		Service: r.Service, Target: r.Target, User: r.Name, Tenant: shown(a.Company), Browser: [32]byte(hash),
		Issued: issued, Expires: issued.Add(grant.MaxLife),
	}
	text, err := grant.Sign(b.cfg.Credentials, g)
	if err != nil {
		return Ticket{}, err
	}
	if port := b.gateway.Port(); port != "" {
		host = net.JoinHostPort(host, port)
	}
	b.metrics.grants.Inc()
	return Ticket{Grant: text, URL: (&url.URL{Scheme: "https", Host: host, Path: "/.ara/redeem"}).String(), Expires: g.Expires}, nil
}

// grantable tells whether the user may have a grant for a session now.
func (b *Broker) grantable(tx *store.Tx, a Actor, r store.Remote) error {
	if err := b.permitted(tx, a, r.System); err != nil {
		return err
	}
	p, err := tx.SystemPairing(r.Tenant, r.System)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	now := b.cfg.now()
	switch {
	case r.User != a.User:
		return &Error{Code: CodeNotRequester}
	case r.State != grant.Pending && r.State != grant.Active, p.Epoch != r.Epoch,
		r.State == grant.Pending && !now.Before(r.Expires), r.State == grant.Active && r.Until != nil && !now.Before(*r.Until):
		return &Error{Code: CodeOver}
	case b.gateway == nil:
		return &Error{Code: CodeUnavailable}
	}
	return nil
}
