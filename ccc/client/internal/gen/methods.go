package gen

import (
	"slices"
	"strings"
)

// method writes the method of an operation, the type of its parameters, and an iterator
// where it gives pages.
func (g *generator) method(op operation) {
	name := public(op.ID)
	_, answerMedia, answer := op.answer()
	if answerMedia == streamMedia {
		return // Client.Events reads it
	}
	params := op.parameters("query", "header", "cookie")
	if len(params) > 0 {
		g.parameters(name, op, params)
	}
	bodyMedia, bodySchema := op.body()
	path := g.path(op)

	args, call := "ctx context.Context", "ctx"
	for _, p := range op.parameters("path") {
		args += ", " + private(p.Name) + " string"
		call += ", " + private(p.Name)
	}
	switch {
	case bodyMedia == jsonMedia:
		args += ", in " + g.typeOf(op.ID, bodySchema)
		call += ", in"
	case bodyMedia != "":
		args += ", in io.Reader"
		call += ", in"
	}
	if len(params) > 0 {
		args += ", p *" + name + "Params"
	}
	result := "error"
	switch {
	case answerMedia == jsonMedia:
		result = "(out " + g.typeOf(op.ID, answer) + ", err error)"
	case answerMedia != "":
		result = "(io.ReadCloser, error)"
	}

	text := name + ": " + op.Summary + "."
	if op.Description != "" {
		text += " " + op.Description
	}
	if answerMedia != "" && answerMedia != jsonMedia {
		text += " The answer is " + answerMedia + "; it is closed by the caller."
	}
	if op.Access.Verb != "" {
		text += " It takes " + op.Access.Verb + "."
	}
	g.print("%sfunc (c *Client) %s(%s) %s {\n", sentence("", text), name, args, result)
	g.print("r := Request{Method: %s, Path: %s", methodConst(op.method), path)
	if op.once() {
		g.print(", Once: true")
	}
	if bodyMedia == jsonMedia {
		g.print(", JSON: in")
	} else if bodyMedia != "" {
		g.print(", Body: in, ContentType: %q", bodyMedia)
	}
	if answerMedia != "" && answerMedia != jsonMedia {
		g.print(", Accept: %q", answerMedia)
	}
	g.print("}\n")
	if len(params) > 0 {
		g.print("if p != nil {\nr.Query, r.Header = p.query(), p.header()\n}\n")
	}
	switch {
	case answerMedia == jsonMedia:
		g.print("err = c.call(ctx, r, &out)\nreturn out, err\n}\n\n")
	case answerMedia != "":
		g.print("return c.open(ctx, r)\n}\n\n")
	default:
		g.print("return c.call(ctx, r, nil)\n}\n\n")
	}
	g.pages(op, name, args, call, params, answer)
}

func methodConst(method string) string {
	return "http.Method" + method[:1] + strings.ToLower(method[1:])
}

// path gives the Go expression of an operation's path.
func (g *generator) path(op operation) string {
	var out []string
	rest := op.path
	for {
		before, after, ok := strings.Cut(rest, "{")
		if before != "" {
			out = append(out, `"`+before+`"`)
		}
		if !ok {
			return strings.Join(out, " + ")
		}
		name, tail, _ := strings.Cut(after, "}")
		out = append(out, "url.PathEscape("+private(name)+")")
		rest = tail
	}
}

// parameters writes the type of the optional parameters.
func (g *generator) parameters(name string, op operation, all []parameter) {
	g.print("// %sParams are the parameters of [Client.%s] that can be left out.\ntype %sParams struct {\n", name, name, name)
	for _, p := range all {
		text := p.Description
		if text == "" || p.Schema != nil && len(p.Schema.Enum) > 0 {
			text = doc(p.Schema)
		}
		if text != "" {
			g.print("%s", sentence("\t", text))
		}
		g.print("%s %s\n", public(p.Name), g.typeOf(op.ID+" "+p.Name, p.Schema))
	}
	g.print("}\n\n")
	for _, in := range []string{"query", "header"} {
		typ := map[string]string{"query": "url.Values", "header": "http.Header"}[in]
		g.print("func (p *%sParams) %s() %s {\nv := %s{}\n", name, in, typ, typ)
		for _, p := range all {
			if p.In != in {
				continue
			}
			g.print("add(v, %q, p.%s)\n", p.Name, public(p.Name))
		}
		g.print("return v\n}\n\n")
	}
}

// pages writes the iterator over all items.
func (g *generator) pages(op operation, name, args, call string, params []parameter, answer *schema) {
	if answer == nil || !slices.ContainsFunc(params, func(p parameter) bool { return p.Name == "cursor" }) {
		return
	}
	list, err := g.doc.resolve(answer)
	if err != nil || list.Properties["items"] == nil || list.Properties["next"] == nil {
		g.fail("operation %s takes a cursor, and does not give items and next", op.ID)
		return
	}
	item := g.typeOf(op.ID, list.Properties["items"].Items)
	g.print("// %sAll gives what [Client.%s] gives, of all pages. It ends with the first error.\n", name, name)
	g.print("func (c *Client) %sAll(%s) iter.Seq2[%s, error] {\n", name, args, item)
	g.print("q := %sParams{}\nif p != nil {\nq = *p\n}\n", name)
	g.print("return pages(func(cursor string) ([]%s, string, error) {\n", item)
	g.print("q := q\nif cursor != \"\" {\nq.Cursor = cursor\n}\n")
	g.print("list, err := c.%s(%s, &q)\nreturn list.Items, list.Next, err\n})\n}\n\n", name, call)
}
