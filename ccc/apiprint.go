package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// mostColumns is how many columns a list has at most; --json has all.
const mostColumns = 8

// firstColumns come first, and columns that are only good for programs not at all: a version
// that is a number is one of these.
var (
	firstColumns = []string{"id", "serial", "name", "email", "model", "version", "kind", "state", "online", "outcome", "role", "roles"}
	notInLists   = []string{"version", "epoch", "description", "note", "error_code", "qr"}
)

// columnsOf chooses and orders the columns of a list.
func columnsOf(all []client.Field) []client.Field {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b client.Field) int { return place(a.Name) - place(b.Name) })
	shown := []client.Field{}
	for _, f := range all {
		if len(shown) == mostColumns {
			break
		}
		if f.Name == "version" && f.Type == "string" || !slices.Contains(notInLists, f.Name) && (f.Required || f.Type != "object") {
			shown = append(shown, f)
		}
	}
	return shown
}

func place(name string) int {
	if i := slices.Index(firstColumns, name); i >= 0 {
		return i
	}
	return len(firstColumns)
}

func listTable(columns []client.Field, items []any) *cli.Table {
	t := &cli.Table{}
	shown := columnsOf(columns)
	for _, f := range shown {
		t.Header = append(t.Header, strings.ToUpper(strings.ReplaceAll(f.Name, "_", " ")))
	}
	for _, i := range items {
		object, ok := i.(map[string]any)
		if !ok || len(shown) == 0 {
			t.Add(cell(i))
			continue
		}
		row := make([]any, len(shown))
		for n, f := range shown {
			row[n] = cell(object[f.Name])
		}
		t.Add(row...)
	}
	return t
}

// objectTable has a line for each field.
func objectTable(columns []client.Field, object map[string]any) *cli.Table {
	t := &cli.Table{}
	columns = slices.Clone(columns)
	slices.SortStableFunc(columns, func(a, b client.Field) int { return place(a.Name) - place(b.Name) })
	for _, f := range columns {
		v, there := object[f.Name]
		if !there {
			continue
		}
		name := strings.ReplaceAll(f.Name, "_", " ")
		inner, ok := v.(map[string]any)
		if !ok {
			t.Add(name, cell(v))
			continue
		}
		for _, key := range sortedKeys(inner) {
			t.Add(name+" "+strings.ReplaceAll(key, "_", " "), cell(inner[key]))
		}
	}
	return t
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortStableFunc(keys, func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return keys
}

// cell is a value as people read it.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case json.Number:
		return v.String()
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil && len(v) >= len("2006-01-02T15:04:05Z") {
			return t.Local().Format(time.DateTime)
		}
		return v
	case []any:
		all := make([]string, len(v))
		for i, e := range v {
			all[i] = cell(e)
		}
		return strings.Join(all, ", ")
	case map[string]any:
		return thing(v)
	}
	return fmt.Sprint(v)
}

// thing is something within a line: its name, or a role with where it is, or all of it.
func thing(v map[string]any) string {
	if role, ok := v["role"].(string); ok {
		for _, part := range []string{"site", "system"} {
			if id, ok := v[part+"_id"].(string); ok && id != "" {
				return role + "@" + part + ":" + id
			}
		}
		return role
	}
	for _, key := range []string{"name", "serial", "id"} {
		if s, ok := v[key].(string); ok {
			return s
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}
