package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// secretFields never come from the command line, which others on the machine can read.
var secretFields = []string{"password", "current", "new", "secret", "recovery"}

func secretField(f client.Field) bool {
	return slices.Contains(secretFields, f.Name) && f.Type == "string" && !f.Repeated
}

// flags gives the command a flag for each parameter and each field of the body; it gives
// those that are needed, for the example.
func (c *apiCommand) flags(cmd *cobra.Command) (example string) {
	fs := cmd.Flags()
	flag := func(into map[string]*[]string, f client.Field, required bool) {
		v := &[]string{}
		into[f.Name] = v
		name, usage := flagOf(c.name.group, f.Name), usageOf(f, required)
		switch {
		case secretField(f):
			name = flagOf(c.name.group, f.Name+"-file")
			usage = "`file` with it, - for standard input; default: ask"
		case f.Repeated && f.Type != "object":
			fs.StringSliceVar(v, name, nil, usage)
		default:
			fs.StringArrayVar(v, name, nil, usage)
		}
		if secretField(f) {
			fs.StringArrayVar(v, name, nil, usage)
		} else {
			made := fs.Lookup(name)
			made.Value, made.DefValue = kind{made.Value, kindOf(f)}, ""
		}
		if len(f.Enum) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(f.Enum, cobra.ShellCompDirectiveNoFileComp))
		}
		if required && !secretField(f) {
			example += " --" + name + " " + exampleValue(f)
		}
	}
	for _, p := range c.op.Parameters {
		if p.In == "path" {
			continue
		}
		flag(c.params, p.Field, p.Required)
		if p.Name == "cursor" {
			fs.BoolVar(&c.all, "all", false, "all pages")
		}
	}
	for _, f := range c.op.Body {
		flag(c.fields, f, f.Required)
	}
	switch {
	case c.op.ContentType == "application/json":
		fs.StringVar(&c.body, "body", "", "`file` with the whole body in JSON, - for standard input; other flags change it")
	case c.op.ContentType != "":
		fs.StringVar(&c.body, "file", "", "`file` to send, "+c.op.ContentType+", - for standard input (needed)")
		example += " --file FILE"
	}
	if c.op.Answer != "" && c.op.Answer != "application/json" {
		fs.StringVar(&c.out, "out", "-", "`file` to write the answer to, "+c.op.Answer+"; - is standard output")
	}
	if c.op.Method == "DELETE" {
		fs.BoolVar(&c.yes, "yes", false, "do not ask")
	}
	return example + alsoNeeded[c.op.ID]
}

// kind is a flag whose help says what it takes.
type kind struct {
	pflag.Value
	name string
}

func (k kind) Type() string { return k.name }

func usageOf(f client.Field, required bool) string {
	text := strings.ReplaceAll(f.Doc, "`", "'")
	if text != "" {
		text = strings.ToLower(text[:1]) + text[1:]
	}
	if len(f.Enum) > 0 {
		text += ": " + strings.Join(f.Enum, ", ")
	}
	if f.Repeated {
		text += "; several with commas"
	}
	if required {
		text += " (needed)"
	}
	return text
}

func kindOf(f client.Field) string {
	switch f.Type {
	case "string":
		return "text"
	case "object":
		if isRole(f) {
			return "role"
		}
		return "JSON"
	}
	return f.Type
}

// samples are values that help texts have for fields, so that an example does what it says.
var samples = map[string]string{
	"address":     "'Hauptstraße 1, Braunschweig'",
	"code":        "123456",
	"days":        "30",
	"email":       "anna@example.com",
	"filter":      `'{"online":false}'`,
	"flow_state":  "STATE",
	"minutes":     "60",
	"name":        "'Braunschweig'",
	"owner":       `'{"email":"anna@example.com","name":"Anna Example","language":"de"}'`,
	"provider":    "company",
	"reason":      "'ticket 17'",
	"serial":      "0123456789",
	"settings":    `'{"ntp_server":"ntp.example.com"}'`,
	"system_ids":  "0123456789",
	"tenant_id":   "0199f0a2…",
	"filter_id":   "0199f0a2…",
	"url":         "https://example.com/hook",
	"verbs":       "system.read",
	"firmware_id": "0199f0a2…",
}

// alsoNeeded is what the example of an operation has besides what every call of it needs.
var alsoNeeded = map[string]string{
	"createRollout": ` --settings '{"ntp_server":"ntp.example.com"}' --system-ids 0123456789`,
}

func exampleValue(f client.Field) string {
	switch {
	case len(f.Enum) > 0:
		return f.Enum[0]
	case samples[f.Name] != "":
		return samples[f.Name]
	case isRole(f):
		return "monitoring"
	case f.Type == "boolean":
		return "true"
	case f.Type == "integer" || f.Type == "number":
		return "1"
	case f.Type == "time":
		return "2026-12-31T12:00:00Z"
	}
	return "'" + strings.ToUpper(f.Name) + "'"
}

// isRole tells whether a field has roles for all of a tenant or for parts of it, which
// are written as in remote@site:NAME.
func isRole(f client.Field) bool { return f.Name == "roles" && f.Type == "object" && f.Repeated }

// content makes the body of the request.
func (c *apiCommand) content(ctx context.Context, k *connection, r *client.Request) error {
	switch {
	case c.op.ContentType == "":
		return nil
	case c.op.ContentType != "application/json":
		return c.upload(k.cmd, r)
	}
	body := map[string]any{}
	if c.body != "" {
		text, err := readFile(k.cmd, c.body)
		if err == nil {
			err = json.Unmarshal(text, &body)
		}
		if err != nil {
			return &cli.Hint{Err: fmt.Errorf("--body: %w", err), Hint: "an object in JSON", ExitCode: cli.ExitUsage}
		}
	}
	for _, f := range c.op.Body {
		flag := flagOf(c.name.group, f.Name)
		v, err := c.field(ctx, k, f, flag, body[f.Name] != nil)
		if err != nil {
			return err
		}
		if v != nil {
			body[f.Name] = v
		}
		if f.Required && body[f.Name] == nil {
			return &cli.Hint{Err: fmt.Errorf("--%s: is needed", flag), Hint: "see: " + k.cmd.CommandPath() + " --help", ExitCode: cli.ExitUsage}
		}
	}
	r.JSON = body
	return nil
}

// field gives the value of a field; nil: it was not given.
func (c *apiCommand) field(ctx context.Context, k *connection, f client.Field, flag string, there bool) (any, error) {
	given := *c.fields[f.Name]
	if secretField(f) {
		if len(given) == 0 && (there || !f.Required) {
			return nil, nil //nolint:nilnil // it was not given
		}
		return readPassword(k.cmd, strings.Join(given, ""), strings.ToUpper(f.Name[:1])+f.Name[1:])
	}
	if !k.cmd.Flags().Changed(flag) {
		if f.Required && f.Repeated && !there {
			return []any{}, nil
		}
		return nil, nil //nolint:nilnil // it was not given
	}
	all := []any{}
	for _, text := range given {
		v, err := k.value(ctx, f, text)
		if err != nil {
			if h, ok := errors.AsType[*cli.Hint](err); ok {
				return nil, h
			}
			return nil, &cli.Hint{Err: fmt.Errorf("--%s: %w", flag, err), ExitCode: cli.ExitUsage}
		}
		if many, ok := v.([]any); ok && f.Repeated {
			all = append(all, many...)
			continue
		}
		all = append(all, v)
	}
	switch {
	case f.Repeated:
		return all, nil
	case len(all) != 1:
		return nil, &cli.Hint{Err: fmt.Errorf("--%s: is given %d times, and may be once", flag, len(all)), ExitCode: cli.ExitUsage}
	}
	return all[0], nil
}

// value reads one value.
func (k *connection) value(ctx context.Context, f client.Field, text string) (any, error) {
	switch {
	case isRole(f) && !strings.HasPrefix(strings.TrimSpace(text), "["):
		return k.roles(ctx, text)
	case f.Type == "boolean":
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return v, nil
	case f.Type == "integer" || f.Type == "number":
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return json.Number(text), nil
	case f.Type == "time":
		return timeOf(text)
	case f.Type == "object":
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("is not JSON: %w", err)
		}
		return v, nil
	}
	return k.reference(ctx, f.Name, text)
}

// timeOf reads a time, or how long it is until then.
func timeOf(text string) (string, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(d).UTC().Format(time.RFC3339), nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t.UTC().Format(time.RFC3339), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "", fmt.Errorf("%q is not a time, such as 2026-12-31, 2026-12-31T12:00:00Z or 72h from now", text)
	}
	return t.UTC().Format(time.RFC3339), nil
}

// roles reads roles with commas between: owner, remote@site:NAME, monitoring@system:SERIAL.
func (k *connection) roles(ctx context.Context, text string) ([]any, error) {
	all := []any{}
	for one := range strings.SplitSeq(text, ",") {
		role, part, inPart := strings.Cut(strings.TrimSpace(one), "@")
		v := map[string]any{"role": role}
		if inPart {
			kind, name, ok := strings.Cut(part, ":")
			if !ok || kind != "site" && kind != "system" {
				return nil, fmt.Errorf("%q is not a role, such as remote, remote@site:NAME or remote@system:SERIAL", one)
			}
			id, err := k.reference(ctx, kind+"_id", name)
			if err != nil {
				return nil, err
			}
			v[kind+"_id"] = id
		}
		all = append(all, v)
	}
	return all, nil
}

// upload sends a file, which may be large, as it is read.
func (c *apiCommand) upload(cmd *cobra.Command, r *client.Request) error {
	if c.body == "" {
		return &cli.Hint{Err: errors.New("--file: is needed"), Hint: "of type " + c.op.ContentType, ExitCode: cli.ExitUsage}
	}
	r.ContentType = c.op.ContentType
	if c.body == "-" {
		r.Body = io.NopCloser(cmd.InOrStdin())
		return nil
	}
	file, err := os.Open(c.body)
	if err != nil {
		return &cli.Hint{Err: fmt.Errorf("--file: %w", err), ExitCode: cli.ExitUsage}
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		r.Size = info.Size()
	}
	r.Body = file // which the request closes
	return nil
}

// readFile reads a file, or standard input where it is -.
func readFile(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}
