package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
)

// maker makes a plan.
type maker struct {
	c       *client.Client
	sites   map[string]string // ids by name; those that are made come in as they are
	groups  map[string]string
	systems map[string]string // by serial, as far as they were asked for
	first   []Change
	last    []Change
}

// Make compares a file with what is there. The client asks in the name of who applies it.
func Make(ctx context.Context, c *client.Client, f File) (*Plan, error) {
	m := &maker{c: c, sites: map[string]string{}, groups: map[string]string{}, systems: map[string]string{}}
	for _, part := range []func(context.Context, File) error{m.siteKind, m.groupKind, m.userKind, m.grantKind, m.filterKind, m.templateKind, m.webhookKind} {
		if err := part(ctx, f); err != nil {
			return nil, err
		}
	}
	// What hangs on sites and groups is gone before they are.
	slices.Reverse(m.last)
	return &Plan{Changes: append(m.first, m.last...), client: c, file: f}, nil
}

func add[T, E any](m *maker, s side[T, E]) error {
	first, last, err := s.changes()
	m.first, m.last = append(m.first, first...), append(m.last, last...)
	return err
}

// does makes a step of a request that gives nothing to tell.
func does(f func(context.Context) error) step {
	return func(ctx context.Context) (string, error) { return "", f(ctx) }
}

func (m *maker) siteKind(ctx context.Context, f File) error {
	list, err := m.c.ListSites(ctx)
	if err != nil {
		return err
	}
	for _, s := range list.Items {
		m.sites[s.Name] = s.ID
	}
	return add(m, side[Site, client.Site]{
		kind: "site", want: f.Sites, have: list.Items,
		name: func(v Site) string { return v.Name }, called: func(v client.Site) string { return v.Name }, id: func(v client.Site) string { return v.ID },
		fields:  func(Site) []Field { return nil },
		differs: func(Site, client.Site) []Field { return nil },
		create: func(v Site) step {
			return does(func(ctx context.Context) error {
				made, err := m.c.CreateSite(ctx, client.NewSite{Name: v.Name})
				m.sites[v.Name] = made.ID
				return err
			})
		},
		remove: func(v client.Site) step {
			return does(func(ctx context.Context) error { return m.c.RemoveSite(ctx, v.ID) })
		},
	})
}

func (m *maker) groupKind(ctx context.Context, f File) error {
	list, err := m.c.ListGroups(ctx)
	if err != nil {
		return err
	}
	for _, g := range list.Items {
		m.groups[g.Name] = g.ID
	}
	return add(m, side[Group, client.Group]{
		kind: "group", want: f.Groups, have: list.Items,
		name: func(v Group) string { return v.Name }, called: func(v client.Group) string { return v.Name }, id: func(v client.Group) string { return v.ID },
		fields:  func(Group) []Field { return nil },
		differs: func(Group, client.Group) []Field { return nil },
		create: func(v Group) step {
			return does(func(ctx context.Context) error {
				made, err := m.c.CreateGroup(ctx, client.NewGroup{Name: v.Name})
				m.groups[v.Name] = made.ID
				return err
			})
		},
		remove: func(v client.Group) step {
			return does(func(ctx context.Context) error { return m.c.RemoveGroup(ctx, v.ID) })
		},
	})
}

// siteNamed gives a site's id once it is there.
func (m *maker) siteNamed(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	id, ok := m.sites[name]
	if !ok {
		return "", fmt.Errorf("there is no site %q", name)
	}
	return id, nil
}

// siteName gives the name of a site, or its id where it has none.
func (m *maker) siteName(id string) string { return nameOf(m.sites, id) }

func nameOf(names map[string]string, id string) string {
	for name, i := range names {
		if i == id {
			return name
		}
	}
	return id
}

func (m *maker) userKind(ctx context.Context, f File) error {
	if len(f.Users.Items) == 0 {
		return nil
	}
	var have []client.Person
	for p, err := range m.c.ListUsersAll(ctx, nil) {
		if err != nil {
			return err
		}
		have = append(have, p)
	}
	me, err := m.c.GetSession(ctx)
	if err != nil {
		return err
	}
	made := map[string]bool{}
	for _, s := range f.Sites.Items {
		made[s.Name] = true
	}
	for _, u := range f.Users.Items {
		for _, text := range u.Roles {
			r, err := parseRole(text)
			if err != nil {
				return err
			}
			if _, there := m.sites[r.of]; r.part == "site" && !there && !made[r.of] {
				return fmt.Errorf("users: %s: there is no site %q", u.Email, r.of)
			}
			if err := m.system(ctx, r); err != nil {
				return fmt.Errorf("users: %s: %w", u.Email, err)
			}
		}
		if strings.EqualFold(u.Email, me.User.Email) && manages(personRoles(have, me.User.ID)) && !managesAll(u.Roles) {
			return fmt.Errorf("users: %s: %w", u.Email, ErrOwnRights)
		}
	}
	return add(m, side[User, client.Person]{
		kind: "user", want: f.Users, have: have,
		name: func(v User) string { return strings.ToLower(v.Email) }, called: func(v client.Person) string { return strings.ToLower(v.Email) },
		id: func(v client.Person) string { return v.ID },
		differs: func(v User, p client.Person) []Field {
			return differ("roles", m.roleTexts(p.Roles), strings.Join(sorted(v.Roles), ", "))
		},
		modify: func(v User, p client.Person) step {
			return does(func(ctx context.Context) error {
				roles, err := m.roleGrants(v.Roles)
				if err == nil {
					// Only those that the plan has shown.
					_, err = m.c.SetUserRoles(ctx, p.ID, client.RolesChange{Roles: roles}, &client.SetUserRolesParams{IfMatch: strconv.Quote(p.RolesVersion)})
				}
				return err
			})
		},
	})
}

func personRoles(all []client.Person, id string) []client.RoleGrant {
	for _, p := range all {
		if p.ID == id {
			return p.Roles
		}
	}
	return nil
}

// manages tells whether roles let somebody manage users.
func manages(roles []client.RoleGrant) bool {
	return slices.ContainsFunc(roles, func(r client.RoleGrant) bool {
		return r.SiteID == "" && r.SystemID == "" && (r.Role == "owner" || r.Role == "administrator")
	})
}

func managesAll(roles []string) bool {
	return slices.Contains(roles, "owner") || slices.Contains(roles, "administrator")
}

func sorted(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return slices.Compact(all)
}

// system finds the system of a role by its serial.
func (m *maker) system(ctx context.Context, r role) error {
	if r.part != "system" || m.systems[r.of] != "" {
		return nil
	}
	for s, err := range m.c.ListSystemsAll(ctx, &client.ListSystemsParams{Q: r.of}) {
		if err != nil {
			return err
		}
		if s.Serial == r.of {
			m.systems[r.of] = s.ID
			return nil
		}
	}
	return fmt.Errorf("there is no system %q", r.of)
}

func (m *maker) roleTexts(all []client.RoleGrant) string {
	texts := make([]string, len(all))
	for i, r := range all {
		v := role{name: r.Role}
		switch {
		case r.SiteID != "":
			v.part, v.of = "site", m.siteName(r.SiteID)
		case r.SystemID != "":
			v.part, v.of = "system", nameOf(m.systems, r.SystemID)
		}
		texts[i] = v.String()
	}
	return strings.Join(sorted(texts), ", ")
}

func (m *maker) roleGrants(all []string) ([]client.RoleGrant, error) {
	out := make([]client.RoleGrant, 0, len(all))
	for _, text := range sorted(all) {
		r, err := parseRole(text)
		if err != nil {
			return nil, err
		}
		g := client.RoleGrant{Role: r.name}
		switch r.part {
		case "site":
			if g.SiteID, err = m.siteNamed(r.of); err != nil {
				return nil, err
			}
		case "system":
			g.SystemID = m.systems[r.of]
		}
		out = append(out, g)
	}
	return out, nil
}

// canonical writes JSON in one way.
func canonical(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	var object map[string]any
	if json.Unmarshal(text, &object) != nil {
		return string(text)
	}
	maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
	text, _ = json.Marshal(object) // it was JSON
	return string(text)
}

// filterFields reads the filter of a file, in which sites and groups have their names.
func (m *maker) filterFields(v Filter) (out client.FilterFields, err error) {
	fields := maps.Clone(v.Filter)
	for key, ids := range map[string]map[string]string{"site": m.sites, "group": m.groups} {
		if name, ok := fields[key].(string); ok && ids[name] != "" {
			fields[key] = ids[name]
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return out, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return out, fmt.Errorf("filter %q: %w", v.Name, err)
	}
	return out, nil
}

func (m *maker) filterKind(ctx context.Context, f File) error {
	if len(f.Filters.Items) == 0 && !f.Filters.Prune {
		return nil
	}
	list, err := m.c.ListFilters(ctx)
	if err != nil {
		return err
	}
	for _, v := range f.Filters.Items {
		if _, err := m.filterFields(v); err != nil {
			return err
		}
	}
	shown := func(v Filter) string {
		fields, err := m.filterFields(v)
		if err != nil {
			return ""
		}
		return canonical(fields)
	}
	return add(m, side[Filter, client.Filter]{
		kind: "filter", want: f.Filters, have: slices.DeleteFunc(list.Items, func(v client.Filter) bool { return !v.Shared }),
		name: func(v Filter) string { return v.Name }, called: func(v client.Filter) string { return v.Name }, id: func(v client.Filter) string { return v.ID },
		fields:  func(v Filter) []Field { return differ("filter", "", shown(v)) },
		differs: func(v Filter, e client.Filter) []Field { return differ("filter", canonical(e.Filter), shown(v)) },
		create: func(v Filter) step {
			return does(func(ctx context.Context) error {
				fields, err := m.filterFields(v)
				if err == nil {
					_, err = m.c.CreateFilter(ctx, client.NewFilter{Name: v.Name, Filter: fields, Shared: new(true)})
				}
				return err
			})
		},
		modify: func(v Filter, e client.Filter) step {
			return does(func(ctx context.Context) error {
				fields, err := m.filterFields(v)
				if err == nil {
					_, err = m.c.UpdateFilter(ctx, e.ID, client.FilterChange{Name: v.Name, Filter: fields})
				}
				return err
			})
		},
		remove: func(e client.Filter) step {
			return does(func(ctx context.Context) error { return m.c.RemoveFilter(ctx, e.ID) })
		},
	})
}

var errSettings = errors.New("the settings are not JSON")

func settings(v Template) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for key, value := range v.Settings {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("template %q: %s: %w", v.Name, key, errSettings)
		}
		out[key] = text
	}
	return out, nil
}

func (m *maker) templateKind(ctx context.Context, f File) error {
	if len(f.Templates.Items) == 0 && !f.Templates.Prune {
		return nil
	}
	list, err := m.c.ListTemplates(ctx)
	if err != nil {
		return err
	}
	wanted := map[string]map[string]json.RawMessage{}
	for _, v := range f.Templates.Items {
		if wanted[v.Name], err = settings(v); err != nil {
			return err
		}
	}
	return add(m, side[Template, client.Template]{
		kind: "template", want: f.Templates, have: list.Items,
		name: func(v Template) string { return v.Name }, called: func(v client.Template) string { return v.Name }, id: func(v client.Template) string { return v.ID },
		fields: func(v Template) []Field { return differ("settings", "", canonical(wanted[v.Name])) },
		differs: func(v Template, e client.Template) []Field {
			return differ("settings", canonical(e.Settings), canonical(wanted[v.Name]))
		},
		create: func(v Template) step {
			return does(func(ctx context.Context) error {
				_, err := m.c.CreateTemplate(ctx, client.NewTemplate{Name: v.Name, Settings: wanted[v.Name]})
				return err
			})
		},
		modify: func(v Template, e client.Template) step {
			return does(func(ctx context.Context) error {
				_, err := m.c.UpdateTemplate(ctx, e.ID, client.NewTemplate{Name: v.Name, Settings: wanted[v.Name]}, &client.UpdateTemplateParams{IfMatch: client.ETag(e.Version)})
				return err
			})
		},
		remove: func(e client.Template) step {
			return does(func(ctx context.Context) error { return m.c.RemoveTemplate(ctx, e.ID) })
		},
	})
}
