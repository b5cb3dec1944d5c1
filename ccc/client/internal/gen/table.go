package gen

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// table writes the operations as data, for programs that offer all of them.
func (g *generator) table(ops []operation) {
	g.print("// Operations are all operations of the API, by id.\nfunc Operations() []Operation {\nreturn []Operation{\n")
	for _, op := range ops {
		g.row(op)
	}
	g.print("}\n}\n")
}

func (g *generator) row(op operation) {
	status, mediaType, answer := op.answer()
	code, err := strconv.Atoi(status)
	if err != nil {
		g.fail("operation %s has no answer that is a success", op.ID)
		return
	}
	g.print("{ID: %q, Method: %q, Path: %q, Tag: %q, Summary: %q", op.ID, op.method, op.path, strings.Join(op.Tags, ","), op.Summary)
	g.text("Description", op.Description)
	g.text("Of", op.Access.Of)
	g.text("Verb", op.Access.Verb)
	if op.once() {
		g.print(", Once: true")
	}
	if all := op.parameters("path", "query", "header"); len(all) > 0 {
		g.print(", Parameters: []Parameter{\n")
		for _, p := range all {
			g.print("{In: %q, Field: Field", p.In)
			s := *p.Schema
			s.Description = cmpText(p.Description, s.Description)
			g.value(p.Name, &s, p.Required)
			g.print("},\n")
		}
		g.print("}")
	}
	if bodyMedia, body := op.body(); bodyMedia != "" {
		g.text("ContentType", bodyMedia)
		g.fields("Body", body)
	}
	g.print(", Status: %d", code)
	g.text("Answer", mediaType)
	if answer != nil && mediaType == jsonMedia {
		s, err := g.doc.resolve(answer)
		if err != nil {
			g.fail("operation %s: %w", op.ID, err)
			return
		}
		if s.Properties["items"] != nil {
			g.print(", List: true")
			s = s.Properties["items"].Items
		}
		g.fields("Columns", s)
	}
	g.print("},\n")
}

func (g *generator) text(key, value string) {
	if value != "" {
		g.print(", %s: %q", key, value)
	}
}

// fields writes the properties of an object; the required ones come first.
func (g *generator) fields(key string, s *schema) {
	s, err := g.doc.resolve(s)
	if err != nil {
		g.fail("%w", err)
		return
	}
	if s == nil || len(s.Properties) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(s.Properties))
	slices.SortStableFunc(names, func(a, b string) int { return rank(s, a) - rank(s, b) })
	g.print(", %s: []Field{\n", key)
	for _, name := range names {
		g.value(name, s.Properties[name], slices.Contains(s.Required, name))
		g.print(",\n")
	}
	g.print("}")
}

func rank(s *schema, name string) int {
	if i := slices.Index(s.Required, name); i >= 0 {
		return i
	}
	return len(s.Required)
}

// value writes one Field.
func (g *generator) value(name string, s *schema, required bool) {
	kind, of := s, s
	repeated := false
	if s.Type == "array" {
		repeated, of = true, s.Items
	}
	kind, err := g.doc.resolve(of)
	if err != nil {
		g.fail("%s: %w", name, err)
		return
	}
	typ := kind.Type
	switch {
	case typ == "" || typ == "array":
		typ = "object"
	case kind.Format == "date-time":
		typ = "time"
	}
	g.print("{Name: %q, Type: %q", name, typ)
	if repeated {
		g.print(", Repeated: true")
	}
	if required {
		g.print(", Required: true")
	}
	if len(kind.Enum) > 0 {
		g.print(", Enum: %#v", texts(kind.Enum))
	} else if len(s.Enum) > 0 {
		g.print(", Enum: %#v", texts(s.Enum))
	}
	g.text("Doc", s.Description)
	if s.Default != nil {
		g.print(", Default: %q", strings.Trim(strings.Join(texts([]any{s.Default}), ""), "[]"))
	}
	g.print("}")
}
