// Package gen writes the operations of package client, from the OpenAPI document of the
// control centre: a method, a table and types. It knows what that document uses of
// OpenAPI 3.1, and fails on anything else, so that nothing is left out unseen.
package gen

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is what is read of the OpenAPI document.
type document struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	ID          string              `json:"operationId"`
	Summary     string              `json:"summary"`
	Description string              `json:"description"`
	Tags        []string            `json:"tags"`
	Parameters  []parameter         `json:"parameters"`
	Body        *requestBody        `json:"requestBody"`
	Responses   map[string]response `json:"responses"`
	Access      struct {
		Of   string `json:"of"`
		Verb string `json:"verb"`
	} `json:"x-access"`

	method, path string
}

type parameter struct {
	Name        string  `json:"name"`
	In          string  `json:"in"`
	Required    bool    `json:"required"`
	Description string  `json:"description"`
	Schema      *schema `json:"schema"`
}

type requestBody struct {
	Required bool             `json:"required"`
	Content  map[string]media `json:"content"`
}

type response struct {
	Content map[string]media `json:"content"`
}

type media struct {
	Schema *schema `json:"schema"`
}

// schema is a JSON Schema, as far as the document uses it.
type schema struct {
	Ref         string             `json:"$ref"`
	Type        kind               `json:"type"`
	Format      string             `json:"format"`
	Description string             `json:"description"`
	Enum        []any              `json:"enum"`
	Default     any                `json:"default"`
	Items       *schema            `json:"items"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Additional  json.RawMessage    `json:"additionalProperties"`
	OneOf       []*schema          `json:"oneOf"`
}

// kind is the type of a value. That it may be null besides is of no concern: Go reads that
// as the zero value.
type kind string

// UnmarshalJSON reads one name, or a list of names.
func (k *kind) UnmarshalJSON(text []byte) error {
	var all []string
	if len(text) == 0 || text[0] != '[' {
		all = []string{""}
		if err := json.Unmarshal(text, &all[0]); err != nil {
			return err
		}
	} else if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "null" })
	if len(all) != 1 {
		return fmt.Errorf("a value has the types %q, and may have one", all)
	}
	*k = kind(all[0])
	return nil
}

// name gives the name of the component that a schema refers to, or nothing.
func (s *schema) name() string { return strings.TrimPrefix(s.Ref, "#/components/schemas/") }

// mapped gives the schema of the values of a map; nil: it is none.
func (s *schema) mapped() (*schema, error) {
	if len(s.Additional) == 0 || s.Additional[0] != '{' {
		return nil, nil //nolint:nilnil // it is no map
	}
	v := &schema{}
	err := json.Unmarshal(s.Additional, v)
	return v, err
}

// operations gives all, by id.
func (d *document) operations() []operation {
	var all []operation
	for path, methods := range d.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// resolve follows a reference to a component.
func (d *document) resolve(s *schema) (*schema, error) {
	if s == nil || s.Ref == "" {
		return s, nil
	}
	found, ok := d.Components.Schemas[s.name()]
	if !ok {
		return nil, fmt.Errorf("the document refers to %s, which it does not have", s.Ref)
	}
	return found, nil
}

// changes gives the names of the schemas that say what changes: what they leave out is
// another thing than what they have empty.
func (d *document) changes() map[string]bool {
	all := map[string]bool{}
	for _, op := range d.operations() {
		if op.method != "PATCH" || op.Body == nil {
			continue
		}
		if s := op.Body.Content[jsonMedia].Schema; s != nil && s.Ref != "" {
			all[s.name()] = true
		}
	}
	return all
}

// uses says of each component what it is for.
func (d *document) uses() map[string]string {
	all := map[string]string{}
	note := func(s *schema, use string) {
		if s != nil && s.Ref != "" && all[s.name()] == "" {
			all[s.name()] = use
		}
	}
	for _, op := range d.operations() {
		_, body := op.body()
		note(body, "is what [Client."+public(op.ID)+"] takes.")
	}
	for _, op := range d.operations() {
		_, _, answer := op.answer()
		note(answer, "is what [Client."+public(op.ID)+"] gives.")
	}
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		for _, property := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[property]
			note(p, "is a part of ["+public(name)+"].")
			note(p.Items, "is an item of ["+public(name)+"].")
		}
	}
	for name := range d.Components.Schemas {
		if all[name] == "" {
			all[name] = "is the data of a live event."
		}
	}
	return all
}

const (
	jsonMedia    = "application/json"
	streamMedia  = "text/event-stream"
	tenantHeader = "Auer-Tenant"
	onceHeader   = "Idempotency-Key"
)

// answer gives status and media type of an operation's success, and its schema. JSON is
// taken where there is a choice.
func (op operation) answer() (status, mediaType string, s *schema) {
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if !strings.HasPrefix(status, "2") {
			continue
		}
		content := op.Responses[status].Content
		if m, ok := content[jsonMedia]; ok {
			return status, jsonMedia, m.Schema
		}
		for _, name := range slices.Sorted(maps.Keys(content)) {
			return status, name, content[name].Schema
		}
		return status, "", nil
	}
	return "", "", nil
}

// body gives the media type and the schema of what an operation takes.
func (op operation) body() (mediaType string, s *schema) {
	if op.Body == nil {
		return "", nil
	}
	if m, ok := op.Body.Content[jsonMedia]; ok {
		return jsonMedia, m.Schema
	}
	for _, name := range slices.Sorted(maps.Keys(op.Body.Content)) {
		return name, op.Body.Content[name].Schema
	}
	return "", nil
}

// parameters gives those of the operation that a caller sets: the client itself sets
// tenant and key.
func (op operation) parameters(in ...string) []parameter {
	var all []parameter
	for _, p := range op.Parameters {
		if slices.Contains(in, p.In) && p.Name != tenantHeader && p.Name != onceHeader {
			all = append(all, p)
		}
	}
	return all
}

// once tells whether an operation takes a key that makes it safe to repeat.
func (op operation) once() bool {
	return slices.ContainsFunc(op.Parameters, func(p parameter) bool { return p.Name == onceHeader })
}
