package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
)

func (m *maker) grantKind(ctx context.Context, f File) error {
	if len(f.Grants.Items) == 0 && !f.Grants.Prune {
		return nil
	}
	list, err := m.c.ListTenantGrants(ctx)
	if err != nil {
		return err
	}
	have := slices.DeleteFunc(list.Items, func(g client.TenantGrant) bool { return g.Over || g.SystemID != "" })
	want := f.Grants
	want.Items = slices.DeleteFunc(slices.Clone(want.Items), func(g Grant) bool { return g.Until != nil && !g.Until.After(time.Now()) })
	until := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	fresh := func(g Grant) step {
		return does(func(ctx context.Context) error {
			site, err := m.siteNamed(g.Site)
			if err == nil {
				_, err = m.c.CreateTenantGrant(ctx, client.NewTenantGrant{TenantID: g.Tenant, Roles: sorted(g.Roles), SiteID: site, Until: g.end()})
			}
			return err
		})
	}
	return add(m, side[Grant, client.TenantGrant]{
		kind: "grant", want: want, have: have, alike: true, id: func(g client.TenantGrant) string { return g.ID },
		hint: "; put them into the file as they are, or end those that are too many",
		name: Grant.key,
		called: func(g client.TenantGrant) string {
			return Grant{Tenant: g.TenantID, Site: siteOrNone(m, g.SiteID)}.key()
		},
		about: func(g client.TenantGrant) string {
			if g.Until.IsZero() {
				return strings.Join(sorted(g.Roles), ", ")
			}
			return strings.Join(sorted(g.Roles), ", ") + " until " + until(g.Until)
		},
		fields: func(g Grant) []Field {
			return append(differ("roles", "", strings.Join(sorted(g.Roles), ", ")), differ("until", "", g.until())...)
		},
		differs: func(g Grant, e client.TenantGrant) []Field {
			return append(differ("roles", strings.Join(sorted(e.Roles), ", "), strings.Join(sorted(g.Roles), ", ")), differ("until", until(e.Until), g.until())...)
		},
		create: fresh,
		modify: func(g Grant, e client.TenantGrant) step {
			return func(ctx context.Context) (string, error) { // the new one first, so that nobody is put out in between
				if _, err := fresh(g)(ctx); err != nil {
					return "", err
				}
				return "", m.c.RemoveTenantGrant(ctx, e.ID)
			}
		},
		remove: func(e client.TenantGrant) step {
			return does(func(ctx context.Context) error { return m.c.RemoveTenantGrant(ctx, e.ID) })
		},
	})
}

func siteOrNone(m *maker, id string) string {
	if id == "" {
		return ""
	}
	return m.siteName(id)
}

func (m *maker) webhookKind(ctx context.Context, f File) error {
	if len(f.Webhooks.Items) == 0 && !f.Webhooks.Prune {
		return nil
	}
	list, err := m.c.ListWebhooks(ctx)
	if err != nil {
		return err
	}
	events := func(all []string) string { return strings.Join(sorted(all), ", ") }
	enabled := func(v Webhook) bool { return v.Enabled == nil || *v.Enabled }
	return add(m, side[Webhook, client.Webhook]{
		kind: "webhook", want: f.Webhooks, have: list.Items,
		name: func(v Webhook) string { return v.URL }, called: func(v client.Webhook) string { return v.URL },
		id: func(v client.Webhook) string { return v.ID }, asked: func(v Webhook) string { return v.ID },
		about: func(v client.Webhook) string { return events(v.Events) }, hint: "; name one with id: in the file",
		fields: func(v Webhook) []Field {
			return append(differ("events", "", events(v.Events)), differ("enabled", "", fmt.Sprint(enabled(v)))...)
		},
		differs: func(v Webhook, e client.Webhook) []Field {
			return slices.Concat(
				differ("url", e.URL, v.URL), differ("events", events(e.Events), events(v.Events)), differ("enabled", fmt.Sprint(e.Enabled), fmt.Sprint(enabled(v))))
		},
		create: func(v Webhook) step {
			return func(ctx context.Context) (string, error) {
				made, err := m.c.CreateWebhook(ctx, client.NewWebhook{URL: v.URL, Events: sorted(v.Events), Enabled: new(enabled(v))})
				return made.Secret, err
			}
		},
		modify: func(v Webhook, e client.Webhook) step {
			return does(func(ctx context.Context) error {
				_, err := m.c.UpdateWebhook(ctx, e.ID, client.WebhookChange{URL: &v.URL, Events: sorted(v.Events), Enabled: new(enabled(v))})
				return err
			})
		},
		remove: func(e client.Webhook) step {
			return does(func(ctx context.Context) error { return m.c.RemoveWebhook(ctx, e.ID) })
		},
	})
}
