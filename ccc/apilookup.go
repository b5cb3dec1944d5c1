package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// uuid is how ids look. What looks so is not looked up.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// collection gives the path of the list that a part of a path is an id of; empty: there
// is none.
func collection(path, place string) string {
	before, _, _ := strings.Cut(path, "/{"+place+"}")
	if before == "" || strings.Contains(before, "{") {
		return ""
	}
	for _, op := range client.Operations() {
		if op.Method == http.MethodGet && op.Path == before && op.List {
			return before
		}
	}
	return ""
}

// references are the lists that fields and parameters have ids of.
var references = map[string]string{
	"site_id": "/sites", "site": "/sites", "system_id": "/systems", "system_ids": "/systems", "template_id": "/templates", "tenant_id": "/tenants", "user_id": "/users",
	"group": "/groups", "groups": "/groups",
}

// reference gives the id that is meant by a field's value, which may be a name.
func (k *connection) reference(ctx context.Context, field, text string) (string, error) {
	list, ok := references[field]
	if !ok || text == "" {
		return text, nil
	}
	return k.resolve(ctx, list, text)
}

// item is one of a list, as far as it is looked for.
type item struct {
	ID     string `json:"id"`
	Serial string `json:"serial"`
	Name   string `json:"name"`
	Email  string `json:"email"`
}

// is tells whether the item is what somebody means by text.
func (i item) is(text string) bool {
	return text != "" && (i.ID == text || i.Serial == text || i.Name == text || strings.EqualFold(i.Email, text))
}

// handle is how people call it.
func (i item) handle() string {
	for _, s := range []string{i.Serial, i.Email, i.Name} {
		if s != "" {
			return s
		}
	}
	return i.ID
}

// resolve gives the id of what has a name, a serial or an e-mail address in a list. What
// is in none is taken for an id.
func (k *connection) resolve(ctx context.Context, list, text string) (string, error) {
	if list == "" || uuid.MatchString(text) {
		return text, nil
	}
	found := ""
	err := k.items(ctx, list, text, func(i item) error {
		if !i.is(text) {
			return nil
		}
		if found != "" && found != i.ID {
			return &cli.Hint{Err: fmt.Errorf("%q: there are several in %s", text, list), Hint: "name it by its id", ExitCode: cli.ExitUsage}
		}
		found = i.ID
		return nil
	})
	p, refused := errors.AsType[*client.Problem](err)
	switch {
	case refused && p.Status/100 == 4 && p.Status != http.StatusUnauthorized:
		return text, nil // who may not see the list can still have an id
	case err != nil:
		return "", err
	case found == "":
		return text, nil // the server says that there is no such thing
	}
	return found, nil
}

// maxLookup is how many items are looked at for one name.
const maxLookup = 20000

var errEnough = errors.New("that is enough")

// items goes through a list; search narrows it where the list can be searched.
func (k *connection) items(ctx context.Context, list, search string, each func(item) error) error {
	r := client.Request{Method: http.MethodGet, Path: list, Query: url.Values{}}
	for _, op := range client.Operations() {
		if op.Method != http.MethodGet || op.Path != list {
			continue
		}
		for _, p := range op.Parameters {
			switch {
			case p.Name == "q" && search != "":
				r.Query.Set("q", search)
			case p.Name == "limit":
				r.Query.Set("limit", "200")
			}
		}
	}
	for seen := 0; seen < maxLookup; {
		resp, err := k.Do(ctx, r)
		if err != nil {
			return err
		}
		var page struct {
			Items []item `json:"items"`
			Next  string `json:"next"`
		}
		if err := errors.Join(decode(resp.Body, &page), resp.Body.Close()); err != nil {
			return err
		}
		for _, i := range page.Items {
			if err := each(i); err != nil {
				return err
			}
		}
		if seen += len(page.Items); page.Next == "" {
			return nil
		}
		r.Query.Set("cursor", page.Next)
	}
	return nil
}

const (
	// completeWithin bounds what a shell waits for.
	completeWithin = 3 * time.Second
	// completeMost is how many proposals there are.
	completeMost = 200
)

// proposals gives what a shell proposes of a list.
func (k *connection) proposals(ctx context.Context, list, begun string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	k.user, k.cmd = "", quiet(ctx) // nobody is asked for a password
	if err := k.open(ctx); err != nil {
		return nil
	}
	defer k.close(ctx)
	all := []string{}
	_ = k.items(ctx, list, begun, func(i item) error { // what is there is proposed
		if handle := i.handle(); strings.HasPrefix(strings.ToLower(handle), strings.ToLower(begun)) {
			if i.Name != "" && i.Name != handle {
				handle += "\t" + i.Name
			}
			all = append(all, handle)
		}
		if len(all) >= completeMost {
			return errEnough
		}
		return nil
	})
	return all
}

// quiet is a command that says nothing.
func quiet(ctx context.Context) *cobra.Command {
	c := &cobra.Command{}
	c.SetContext(ctx)
	return c
}

// completeArgs proposes serials, names and addresses for what the path needs.
func (c *apiCommand) completeArgs(cmd *cobra.Command) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(c.places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list := collection(c.op.Path, c.places[len(args)])
		if list == "" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return connectionOf(cmd).proposals(cmd.Context(), list, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// connectionOf makes a connection of what a command line has said so far.
func connectionOf(cmd *cobra.Command) *connection {
	text := func(name string) string {
		v, err := cmd.Flags().GetString(name)
		if err != nil {
			return ""
		}
		return v
	}
	return &connection{cmd: cmd, url: text("url"), ca: text("ca-file"), profile: text("profile"), tenant: text("tenant")}
}

// completeTenants proposes the tenants that the person may see.
func (k *connection) completeTenants(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	c := connectionOf(cmd)
	c.tenant = ""
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	if err := c.open(ctx); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.close(ctx)
	all := []string{}
	_ = c.items(ctx, "/tenants", "", func(i item) error {
		if strings.HasPrefix(i.ID, begun) {
			all = append(all, i.ID+"\t"+i.Name)
		}
		return nil
	})
	return all, cobra.ShellCompDirectiveNoFileComp
}
