package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

const (
	groupServer = "server"
	groupClient = "client"
)

// addOperations gives each operation of the API a command, in the groups that are there
// and in new ones.
func addOperations(app *cli.App, root *cobra.Command) {
	for _, op := range client.Operations() {
		if _, done := byHand[op.ID]; done {
			continue
		}
		name := nameOf(op)
		group := subcommand(root, name.group)
		if group == nil {
			group = &cobra.Command{
				Use: name.group, GroupID: groupClient,
				Short: groups[name.group],
				Long:  connectHelp,
			}
			root.AddCommand(group)
		}
		if subcommand(group, name.verb) != nil {
			name.verb = strings.Join(wordsOf(op.ID), "-")
		}
		group.AddCommand(operationCommand(app, op, name))
	}
}

func subcommand(of *cobra.Command, name string) *cobra.Command {
	for _, c := range of.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// operationID is the annotation that says which operation a command is for.
const operationID = "operation"

// apiCommand is the command of an operation.
type apiCommand struct {
	app  *cli.App
	op   client.Operation
	name commandName

	places []string // the parameters in the path, in their order

	params map[string]*[]string // of query and header, by name
	fields map[string]*[]string // of the body
	body   string               // the file with all of it
	out    string               // where an answer that is no JSON goes
	all    bool
	yes    bool
}

func operationCommand(app *cli.App, op client.Operation, name commandName) *cobra.Command {
	c := &apiCommand{app: app, op: op, name: name, params: map[string]*[]string{}, fields: map[string]*[]string{}}
	use, example := name.verb, "  ccc "+name.group+" "+name.verb
	for _, p := range op.Parameters {
		if p.In == "path" {
			c.places = append(c.places, p.Name)
			use += " " + strings.ToUpper(c.word(p.Name))
			example += " " + exampleOf(c.word(p.Name))
		}
	}
	cmd := &cobra.Command{
		Use: use, Short: op.Summary, Args: cobra.ExactArgs(len(c.places)),
		Annotations: map[string]string{operationID: op.ID},
	}
	cmd.Long = op.Summary + "."
	if op.Description != "" {
		cmd.Long += " " + op.Description
	}
	if op.Verb != "" {
		cmd.Long += "\n\nIt takes " + op.Verb + ", of: " + op.Of + "."
	}
	cmd.Example = example + c.flags(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	connected(cmd, c.run)
	cmd.ValidArgsFunction = c.completeArgs(cmd)
	return cmd
}

// word is what a part of the path is called: {id} is of what the group has.
func (c *apiCommand) word(param string) string {
	if param != "id" {
		return param
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(c.op.Path, "/"), "/")
	if first == "systems" {
		return "system"
	}
	return singular(first)
}

// exampleOf gives an argument for a help text.
func exampleOf(word string) string {
	if word == "system" {
		return "0123456789"
	}
	return "0199f0a2…"
}

// run runs the operation.
func (c *apiCommand) run(ctx context.Context, k *connection, args []string) error {
	r := client.Request{Method: c.op.Method, Once: c.op.Once, Query: url.Values{}, Header: http.Header{}, Accept: c.op.Answer}
	path := c.op.Path
	for i, place := range c.places {
		id, err := k.resolve(ctx, collection(c.op.Path, place), args[i])
		if err != nil {
			return err
		}
		path = strings.Replace(path, "{"+place+"}", url.PathEscape(id), 1)
	}
	r.Path = path
	if err := c.parameters(ctx, k, &r); err != nil {
		return err
	}
	if err := c.content(ctx, k, &r); err != nil {
		return err
	}
	if err := c.confirm(k.cmd, args); err != nil {
		return err
	}
	resp, err := k.Do(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch c.op.Answer {
	case "":
		return nil
	case "application/json":
		return c.show(ctx, k, r, resp.Body)
	}
	return c.copy(k.cmd, resp.Body)
}

// parameters puts the flags of query and header into the request. Where If-Match is not
// given it is as the thing is now.
func (c *apiCommand) parameters(ctx context.Context, k *connection, r *client.Request) error {
	for _, p := range c.op.Parameters {
		v := c.params[p.Name]
		if v == nil {
			continue
		}
		values := *v
		if p.In == "header" {
			if p.Name == "If-Match" && len(values) == 0 {
				tag, err := k.etag(ctx, r.Path)
				if err != nil {
					return err
				}
				values = []string{tag}
			}
			for _, v := range values {
				if v != "" {
					r.Header.Add(p.Name, v)
				}
			}
			continue
		}
		for _, v := range values {
			id, err := k.reference(ctx, p.Name, v)
			if err != nil {
				return err
			}
			r.Query.Add(p.Name, id)
		}
	}
	return nil
}

// etag asks for what is at a path now.
func (k *connection) etag(ctx context.Context, path string) (string, error) {
	resp, err := k.Do(ctx, client.Request{Method: http.MethodGet, Path: path})
	if err != nil {
		if client.HasCode(err, client.CodeMethodNotAllowed) {
			return "", nil
		}
		return "", err
	}
	return resp.Header.Get("ETag"), resp.Body.Close()
}

// errUnsaid: nobody has said yes.
var errUnsaid = errors.New("nothing was done")

// confirm asks at a terminal before something is gone.
func (c *apiCommand) confirm(cmd *cobra.Command, args []string) error {
	if c.op.Method != http.MethodDelete {
		return nil
	}
	return agreed(cmd, c.yes, c.op.Summary+": "+strings.Join(args, " ")+". ")
}

// copy writes an answer that is no JSON.
func (c *apiCommand) copy(cmd *cobra.Command, body io.Reader) (err error) {
	if c.out == "" || c.out == "-" {
		_, err := io.Copy(cmd.OutOrStdout(), body)
		return err
	}
	f, err := os.OpenFile(c.out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, body)
	return err
}

// show prints an answer in JSON, of all pages where that is wanted.
func (c *apiCommand) show(ctx context.Context, k *connection, r client.Request, body io.Reader) error {
	var v any
	if err := decode(body, &v); err != nil {
		return err
	}
	object, _ := v.(map[string]any)
	items, list := object["items"].([]any)
	next, _ := object["next"].(string)
	for c.all && list && next != "" {
		r.Query.Set("cursor", next)
		resp, err := k.Do(ctx, r)
		if err != nil {
			return err
		}
		var page struct {
			Items []any  `json:"items"`
			Next  string `json:"next"`
		}
		err = errors.Join(decode(resp.Body, &page), resp.Body.Close())
		if err != nil {
			return err
		}
		items, next = append(items, page.Items...), page.Next
		object["items"] = items
		delete(object, "next")
	}
	if !c.app.JSON && next != "" {
		if _, err := fmt.Fprintln(k.cmd.ErrOrStderr(), "there are more: --all, or --cursor", next); err != nil {
			return err
		}
	}
	if list {
		return c.app.Print(k.cmd, v, listTable(c.op.Columns, items))
	}
	return c.app.Print(k.cmd, v, objectTable(c.op.Columns, object))
}

// decode reads JSON, with numbers as they are written.
func decode(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the answer is not as expected: %w", err)
	}
	return nil
}
