package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
)

// TestEveryOperationHasACommand: whatever the pages can do, a command can do, or it says
// here why not.
func TestEveryOperationHasACommand(t *testing.T) {
	t.Parallel()
	root := newApp().Command
	found := map[string]string{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		names := map[string]bool{}
		for _, sub := range c.Commands() {
			if names[sub.Name()] {
				t.Errorf("%s: there are two", sub.CommandPath())
			}
			names[sub.Name()] = true
			walk(sub)
		}
		if id := c.Annotations[operationID]; id != "" {
			if found[id] != "" {
				t.Errorf("%s is %s and %s", id, found[id], c.CommandPath())
			}
			found[id] = c.CommandPath()
			if !strings.HasPrefix(c.Example, "  "+c.CommandPath()) || c.Short == "" {
				t.Errorf("%s: the example is %q", c.CommandPath(), c.Example)
			}
		}
	}
	walk(root)
	none := []string{}
	for _, op := range client.Operations() {
		hand, byHand := byHand[op.ID]
		switch {
		case byHand && hand == "":
			none = append(none, op.ID)
		case byHand:
			c, rest, err := root.Find(strings.Fields(hand))
			if err != nil || len(rest) > 0 {
				t.Errorf("%s: there is no command %s: %v", op.ID, hand, c)
			}
		case found[op.ID] == "":
			t.Errorf("%s has no command", op.ID)
		}
	}
	// Only what needs a browser has none.
	if want := []string{"addPasskey", "addProviderLink", "beginPasskey", "beginPasskeySignIn", "beginProviderLink", "signInByPasskey"}; !slices.Equal(none, want) {
		t.Errorf("without a command are %v, want %v", none, want)
	}
	for name := range groups {
		if subcommand(root, name) == nil {
			t.Errorf("there is no group %s", name)
		}
	}
	for _, c := range root.Commands() {
		if c.Short == "" {
			t.Errorf("%s does not say what it is about", c.CommandPath())
		}
	}
	for id := range byHand {
		if !slices.ContainsFunc(client.Operations(), func(op client.Operation) bool { return op.ID == id }) {
			t.Errorf("byHand has %s, which is no operation", id)
		}
	}
	for id := range named {
		if !slices.ContainsFunc(client.Operations(), func(op client.Operation) bool { return op.ID == id }) {
			t.Errorf("named has %s, which is no operation", id)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ id, path, want string }{
		{"listSystems", "/systems", "systems list"},
		{"createSite", "/sites", "sites add"},
		{"getSystem", "/systems/{id}", "systems show"},
		{"updateSystem", "/systems/{id}", "systems edit"},
		{"listSystemEvents", "/systems/{id}/events", "systems events"},
		{"setUserRoles", "/users/{id}/roles", "users set-roles"},
		{"createToken", "/account/tokens", "tokens add"},
		{"endOtherSessions", "/account/sessions", "sessions end-others"},
		{"removeTOTP", "/account/totp", "account remove-totp"},
		{"getFactors", "/account/factors", "account factors"},
		{"importSystems", "/onboarding", "onboarding import"},
	} {
		n := nameOf(client.Operation{ID: tt.id, Path: tt.path})
		if got := n.group + " " + n.verb; got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.id, got, tt.want)
		}
	}
	if got := flagOf("webhooks", "url"); got != "webhook-url" {
		t.Errorf("got %q", got)
	}
}

// TestFlagsOfCommands: no field hides the flag of a connection.
func TestFlagsOfCommands(t *testing.T) {
	t.Parallel()
	for _, op := range client.Operations() {
		name := nameOf(op)
		seen := map[string]bool{}
		for _, f := range append(slices.Clone(op.Body), paramsOf(op)...) {
			flag := flagOf(name.group, f.Name)
			if seen[flag] || slices.Contains(connectFlags, flag) {
				t.Errorf("%s: --%s is there twice", op.ID, flag)
			}
			seen[flag] = true
		}
	}
}

// TestReferences: systems can be named by their serials wherever a command takes them, and
// images are told apart in their list.
func TestReferences(t *testing.T) {
	t.Parallel()
	for _, op := range client.Operations() {
		for _, f := range append(slices.Clone(op.Body), paramsOf(op)...) {
			if (f.Name == "system_id" || f.Name == "system_ids") && references[f.Name] == "" {
				t.Errorf("%s: %s takes ids alone", op.ID, f.Name)
			}
		}
		if op.ID != "listFirmware" {
			continue
		}
		if !slices.ContainsFunc(columnsOf(op.Columns), func(f client.Field) bool { return f.Name == "version" }) {
			t.Error("images without their versions")
		}
	}
}

func paramsOf(op client.Operation) (all []client.Field) {
	for _, p := range op.Parameters {
		if p.In != "path" {
			all = append(all, p.Field)
		}
	}
	return all
}
