package apply

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
)

// Export gives the file of what a tenant is like now. What the client may not see is left
// out, and named. Roles for systems that are gone, and grants for one system, are left out
// too.
func Export(ctx context.Context, c *client.Client) (f File, left []string, err error) {
	m := &maker{c: c, sites: map[string]string{}, groups: map[string]string{}, systems: map[string]string{}}
	f.Version = 1
	for _, part := range []struct {
		kind string
		read func(context.Context, *File) error
	}{
		{"sites", m.exportPlaces},
		{"users", m.exportUsers},
		{"grants", m.exportGrants},
		{"filters", m.exportFilters},
		{"templates", m.exportTemplates},
		{"webhooks", m.exportWebhooks},
	} {
		switch err := part.read(ctx, &f); {
		case client.HasCode(err, client.CodeForbidden), client.HasCode(err, client.CodeTokenScope):
			left = append(left, part.kind)
		case err != nil:
			return f, left, err
		}
	}
	return f, left, nil
}

// Marshal writes a file.
func (f File) Marshal() ([]byte, error) {
	return yaml.MarshalWithOptions(f, yaml.OmitZero(), yaml.IndentSequence(true))
}

func (m *maker) exportPlaces(ctx context.Context, f *File) error {
	sites, err := m.c.ListSites(ctx)
	if err != nil {
		return err
	}
	for _, s := range sites.Items {
		m.sites[s.Name] = s.ID
		f.Sites.Items = append(f.Sites.Items, Site{s.Name})
	}
	groups, err := m.c.ListGroups(ctx)
	for _, g := range groups.Items {
		m.groups[g.Name] = g.ID
		f.Groups.Items = append(f.Groups.Items, Group{g.Name})
	}
	return err
}

func (m *maker) exportUsers(ctx context.Context, f *File) error {
	byID := map[string]string{}
	for s, err := range m.c.ListSystemsAll(ctx, &client.ListSystemsParams{Limit: 200}) {
		if err != nil {
			return err
		}
		byID[s.ID] = s.Serial
	}
	for p, err := range m.c.ListUsersAll(ctx, nil) {
		if err != nil {
			return err
		}
		u := User{Email: strings.ToLower(p.Email), Roles: []string{}}
		for _, r := range p.Roles {
			v := role{name: r.Role}
			switch {
			case r.SiteID != "":
				v.part, v.of = "site", m.siteName(r.SiteID)
			case r.SystemID != "" && byID[r.SystemID] == "":
				continue
			case r.SystemID != "":
				v.part, v.of = "system", byID[r.SystemID]
			}
			u.Roles = append(u.Roles, v.String())
		}
		slices.Sort(u.Roles)
		f.Users.Items = append(f.Users.Items, u)
	}
	return nil
}

func (m *maker) exportGrants(ctx context.Context, f *File) error {
	list, err := m.c.ListTenantGrants(ctx)
	for _, g := range list.Items {
		if g.Over || g.SystemID != "" {
			continue
		}
		v := Grant{Tenant: g.TenantID, Roles: sorted(g.Roles), Site: siteOrNone(m, g.SiteID)}
		if !g.Until.IsZero() {
			v.Until = &g.Until
		}
		if !slices.ContainsFunc(f.Grants.Items, func(o Grant) bool { return o.whole() == v.whole() }) { // two that are alike do what one does
			f.Grants.Items = append(f.Grants.Items, v)
		}
	}
	return err
}

func (m *maker) exportFilters(ctx context.Context, f *File) error {
	list, err := m.c.ListFilters(ctx)
	for _, v := range list.Items {
		if !v.Shared {
			continue
		}
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(canonical(v.Filter)), &fields); err != nil {
			return err
		}
		for key, names := range map[string]map[string]string{"site": m.sites, "group": m.groups} {
			if id, ok := fields[key].(string); ok {
				fields[key] = nameOf(names, id)
			}
		}
		f.Filters.Items = append(f.Filters.Items, Filter{v.Name, fields})
	}
	return err
}

func (m *maker) exportTemplates(ctx context.Context, f *File) error {
	list, err := m.c.ListTemplates(ctx)
	for _, v := range list.Items {
		values := map[string]any{}
		for key, text := range v.Settings {
			var value any
			if err := json.Unmarshal(text, &value); err != nil {
				return err
			}
			values[key] = value
		}
		f.Templates.Items = append(f.Templates.Items, Template{v.Name, values})
	}
	return err
}

func (m *maker) exportWebhooks(ctx context.Context, f *File) error {
	list, err := m.c.ListWebhooks(ctx)
	count := map[string]int{}
	for _, v := range list.Items {
		count[v.URL]++
	}
	for _, v := range list.Items {
		w := Webhook{URL: v.URL, Events: sorted(v.Events)}
		if count[v.URL] > 1 {
			w.ID = v.ID
		}
		if !v.Enabled {
			w.Enabled = new(false)
		}
		f.Webhooks.Items = append(f.Webhooks.Items, w)
	}
	return err
}
