package apply

import (
	"errors"
	"strings"
	"testing"
)

const good = `version: 1
sites:
  prune: true
  items:
    - name: Braunschweig
users:
  items:
    - email: anna@example.com
      roles: [administrator, remote@site:Braunschweig, monitoring@system:0123456789]
webhooks:
  items:
    - url: https://example.com/hook
      events: [system.offline]
      enabled: false
templates:
  items:
    - name: Time
      settings: {ntp_server: ntp.example.com, ntp_interval_minutes: 60}
`

func TestParse(t *testing.T) {
	t.Parallel()
	f, err := Parse([]byte(good))
	if err != nil || !f.Sites.Prune || f.Users.Items[0].Roles[1] != "remote@site:Braunschweig" || *f.Webhooks.Items[0].Enabled || f.Templates.Items[0].Settings["ntp_server"] != "ntp.example.com" {
		t.Errorf("got %+v, %v", f, err)
	}
	text, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text)
	if err != nil || len(again.Sites.Items) != 1 || !again.Sites.Prune || len(again.Users.Items[0].Roles) != 3 {
		t.Errorf("written %s\nread %+v, %v", text, again, err)
	}
}

// TestParseFails: what is wrong is said with its line.
func TestParseFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"version: 1\nsties:\n  items: []\n", `did you mean "sites"?`},
		{"version: 1\nsties:\n  items: []\n", "2 | sties:"},
		{"version: 1\nsites:\n  items:\n    - name: A\n      colour: red\n", "5 |       colour: red"},
		{"version: 1\nalert_contacts: {items: []}\n", "come with the monitoring"},
		{"version: 2\n", "version: is 2"},
		{"{}", "version: is 0"},
		{"version: 1\nsites: {items: [{name: A}, {name: A}]}\n", "is the same as items[0]"},
		{"version: 1\nsites: {items: [{name: ' '}]}\n", "has no name"},
		{"version: 1\nversion: 1\n", "version"},
		{"version: 1\nusers: {prune: true, items: []}\n", "people are not removed"},
		{"version: 1\nusers: {items: [{email: a@b, roles: ['remote@office']}]}\n", "is not a role"},
		{"version: 1\nwebhooks: {items: [{url: x, events: []}]}\n", "has none"},
		{"version: one\n", "1 | version: one"},
		{"\t- x", ""},
		{strings.Repeat("#", MaxFile+1), "larger"},
	} {
		_, err := Parse([]byte(tt.text))
		if !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestPlanText(t *testing.T) {
	t.Parallel()
	p := &Plan{Changes: []Change{
		{Kind: "site", Name: "A", Action: Create},
		{Kind: "user", Name: "a@b", Action: Modify, Fields: []Field{{"roles", "", "owner"}}},
		{Kind: "group", Name: "B", Action: Delete},
	}}
	want := "+ site \"A\"\n~ user \"a@b\"\n    roles: (none) -> owner\n- group \"B\"\n1 to create, 1 to change, 1 to delete.\n"
	if got := p.String(); got != want {
		t.Errorf("got %s", got)
	}
	if got := (&Plan{}).String(); got != "Nothing is to be changed.\n" {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("version: 1\nsties: {}\n")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Parse([]byte(text))
		if err != nil {
			if !errors.Is(err, ErrFile) {
				t.Error(err)
			}
			return
		}
		written, err := v.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(written); err != nil {
			t.Errorf("what was written cannot be read: %v\n%s", err, written)
		}
	})
}
