package apply

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// File is what a tenant is to be like.
type File struct {
	// Version of the form: 1.
	Version   int            `yaml:"version"`
	Sites     Kind[Site]     `yaml:"sites,omitempty"`
	Groups    Kind[Group]    `yaml:"groups,omitempty"`
	Users     Kind[User]     `yaml:"users,omitempty"`
	Grants    Kind[Grant]    `yaml:"grants,omitempty"`
	Filters   Kind[Filter]   `yaml:"filters,omitempty"`
	Webhooks  Kind[Webhook]  `yaml:"webhooks,omitempty"`
	Templates Kind[Template] `yaml:"templates,omitempty"`
}

// Kind is all things of one kind.
type Kind[T any] struct {
	// Prune: what is there and not in the file is removed.
	Prune bool `yaml:"prune,omitempty"`
	Items []T  `yaml:"items"`
}

// Site is a place.
type Site struct {
	Name string `yaml:"name"`
}

// Group is a group of systems.
type Group struct {
	Name string `yaml:"name"`
}

// User says what somebody may, who has an account.
type User struct {
	Email string   `yaml:"email"`
	Roles []string `yaml:"roles"` // as in remote@site:NAME
}

// Grant lets the people of another tenant in.
type Grant struct {
	Tenant string     `yaml:"tenant"` // its id
	Roles  []string   `yaml:"roles"`
	Site   string     `yaml:"site,omitempty"`
	Until  *time.Time `yaml:"until,omitempty"`
}

// Filter is one that all in the tenant have.
type Filter struct {
	Name   string         `yaml:"name"`
	Filter map[string]any `yaml:"filter"` // as in the API
}

// Webhook is where it is told what happens.
type Webhook struct {
	ID      string   `yaml:"id,omitempty"` // of one that there is; needed where several have its address
	URL     string   `yaml:"url"`
	Events  []string `yaml:"events"`
	Enabled *bool    `yaml:"enabled,omitempty"` // default: true
}

// Template is a set of settings of PBXs.
type Template struct {
	Name     string         `yaml:"name"`
	Settings map[string]any `yaml:"settings"`
}

// MaxFile is how large a file may be.
const MaxFile = 1 << 20

// ErrFile: a file is not as it has to be. The error says where.
var ErrFile = errors.New("the file cannot be used")

// keys are all that a file can have, for proposals.
var keys = []string{
	"version", "sites", "groups", "users", "grants", "filters", "webhooks", "templates", "prune", "items", "name", "email", "roles", "tenant", "site",
	"until", "filter", "id", "url", "events", "enabled", "settings",
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// Parse reads a file. The error shows the line with what is wrong in it.
func Parse(text []byte) (f File, err error) {
	if len(text) > MaxFile {
		return f, fmt.Errorf("%w: it is larger than %d bytes", ErrFile, MaxFile)
	}
	defer func() { // the parser is not ours
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: it is not YAML", ErrFile)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.DisallowUnknownField())
	if err := d.Decode(&f); err != nil {
		shown := yaml.FormatError(err, false, true)
		if m := unknownField.FindStringSubmatch(shown); m != nil {
			switch {
			case strings.HasPrefix(m[1], "alert"):
				shown += "\ncontacts for alarms come with the monitoring"
			case nearest(m[1]) != "":
				shown += fmt.Sprintf("\ndid you mean %q?", nearest(m[1]))
			}
		}
		return f, fmt.Errorf("%w: %s", ErrFile, shown)
	}
	if err := f.check(); err != nil {
		return f, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return f, nil
}

// nearest gives the key that somebody may have meant; empty: none is near.
func nearest(word string) string {
	best, least := "", 3
	for _, k := range keys {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters that make one word of another (Levenshtein).
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// check finds what the form does not say.
func (f File) check() error {
	var all []error
	if f.Version != 1 {
		all = append(all, fmt.Errorf("version: is %d, and has to be 1", f.Version))
	}
	all = append(all,
		unique("sites", f.Sites.Items, func(v Site) string { return v.Name }),
		unique("groups", f.Groups.Items, func(v Group) string { return v.Name }),
		unique("users", f.Users.Items, func(v User) string { return strings.ToLower(v.Email) }),
		unique("grants", f.Grants.Items, Grant.whole),
		unique("filters", f.Filters.Items, func(v Filter) string { return v.Name }),
		unique("webhooks", f.Webhooks.Items, func(v Webhook) string { return cmp.Or(v.ID, v.URL) }),
		unique("templates", f.Templates.Items, func(v Template) string { return v.Name }),
	)
	if f.Users.Prune {
		all = append(all, errors.New("users.prune: people are not removed; lock them out with: ccc users set-disabled"))
	}
	for i, u := range f.Users.Items {
		for _, r := range u.Roles {
			if _, err := parseRole(r); err != nil {
				all = append(all, fmt.Errorf("users.items[%d].roles: %w", i, err))
			}
		}
	}
	for i, w := range f.Webhooks.Items {
		if w.URL == "" {
			all = append(all, fmt.Errorf("webhooks.items[%d].url: is missing", i))
		}
		if len(w.Events) == 0 {
			all = append(all, fmt.Errorf("webhooks.items[%d].events: has none", i))
		}
	}
	return errors.Join(all...)
}

// key tells grants apart: one tenant can be let in to several sites.
func (g Grant) key() string {
	if g.Site == "" {
		return g.Tenant
	}
	return g.Tenant + " at " + g.Site
}

// whole tells also those apart that let the same tenant in to the same.
func (g Grant) whole() string {
	if strings.TrimSpace(g.Tenant) == "" {
		return ""
	}
	return fmt.Sprint(g.key(), sorted(g.Roles), g.until())
}

// end gives when it ends; the zero time: never.
func (g Grant) end() time.Time {
	if g.Until == nil {
		return time.Time{}
	}
	return *g.Until
}

// until gives the same as a text.
func (g Grant) until() string {
	if g.Until == nil || g.Until.IsZero() {
		return ""
	}
	return g.Until.UTC().Format(time.RFC3339)
}

func unique[T any](kind string, items []T, name func(T) string) error {
	var all []error
	seen := map[string]int{}
	for i, v := range items {
		n := name(v)
		if strings.TrimSpace(n) == "" {
			all = append(all, fmt.Errorf("%s.items[%d]: has no name", kind, i))
			continue
		}
		if first, twice := seen[n]; twice {
			all = append(all, fmt.Errorf("%s.items[%d]: is the same as items[%d]", kind, i, first))
		}
		seen[n] = i
	}
	return errors.Join(all...)
}

// role is one role of somebody.
type role struct{ name, part, of string }

// String writes it as the file has it.
func (r role) String() string {
	if r.part == "" {
		return r.name
	}
	return r.name + "@" + r.part + ":" + r.of
}

func parseRole(text string) (r role, err error) {
	name, at, inPart := strings.Cut(text, "@")
	r.name = name
	if inPart {
		var ok bool
		if r.part, r.of, ok = strings.Cut(at, ":"); !ok || r.of == "" || !slices.Contains([]string{"site", "system"}, r.part) {
			return r, fmt.Errorf("%q is not a role, such as remote, remote@site:NAME or remote@system:SERIAL", text)
		}
	}
	if name == "" {
		return r, fmt.Errorf("%q is not a role", text)
	}
	return r, nil
}
