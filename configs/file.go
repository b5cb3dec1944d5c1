package configs

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// file merges a YAML text into the top struct. The library's own decoder stops
// at the first error and reads 0012345 as a number, so the tree is walked here.
func (m *merge) file(v reflect.Value, name string, text []byte) {
	m.yaml(v, "", text, func(t *token.Token) string {
		if t == nil || t.Position == nil {
			return name
		}
		return fmt.Sprintf("%s:%d:%d", name, t.Position.Line, t.Position.Column)
	})
}

// yaml merges a YAML text into the value at path; origin names a place in it.
func (m *merge) yaml(v reflect.Value, path string, text []byte, origin func(*token.Token) string) {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok {
			m.fail(origin(e.GetToken()), path, e.GetMessage(), "")
			return
		}
		m.fail(origin(nil), path, err.Error(), "")
		return
	}
	d := &decoder{merge: m, origin: origin}
	seen := false
	for _, doc := range tree.Docs {
		switch {
		case doc.Body == nil:
		case seen:
			m.fail(origin(doc.Body.GetToken()), path, "a second document in one file", "")
			return
		default:
			seen = true
			d.value(doc.Body, v, path)
		}
	}
}

// decoder walks a YAML tree beside a Go value.
type decoder struct {
	*merge
	origin func(*token.Token) string
}

func (d *decoder) failAt(n ast.Node, path, problem, hint string) {
	d.fail(d.origin(n.GetToken()), path, problem, hint)
}

// value merges the node n into v, which stands at path.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	switch n := n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.DirectiveNode:
		d.failAt(n, path, "anchors, aliases, tags and directives are not allowed", "write the value out")
		return
	case *ast.NullNode:
		d.null(n, v, path)
		return
	}
	switch shapeOf(v.Type()) {
	case scalar:
		d.scalar(n, v, path)
	case section:
		d.section(n, settle(v), path)
	case list:
		d.list(n, settle(v), path)
	case table:
		d.table(n, settle(v), path)
	default:
		panic(fmt.Sprintf("configs: %s has the type %s, which cannot be configured", path, v.Type()))
	}
}

// null handles a key without a value. A section or map whose keys are all
// commented out keeps its defaults.
func (d *decoder) null(n ast.Node, v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.Pointer:
		v.SetZero()
	case shapeOf(v.Type()) == list:
		d.failAt(n, path, "has no value", "write [] for an empty list, or remove the key")
	case shapeOf(v.Type()) == scalar:
		d.failAt(n, path, "has no value", "give it a value, or remove the key")
	}
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	var text string
	switch n := n.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text = n.GetToken().Value
	default:
		d.failAt(n, path, "want one value, not "+kind(n), "")
		return
	}
	if hint, err := setText(v, text); err != nil {
		d.failAt(n, path, err.Error(), hint)
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.failAt(n, path, "want a list, not "+kind(n), "write each item on a line that starts with a dash")
		return
	}
	items := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.origins[at] = d.origin(item.GetToken())
		d.value(item, items.Index(i), at)
	}
	v.Set(items)
}

func (d *decoder) section(n ast.Node, v reflect.Value, path string) {
	fs := fields(v.Type())
	for name, kv := range d.entries(n, path) {
		at := join(path, name)
		f, ok := find(fs, name)
		if !ok {
			d.failAt(kv.Key, at, "unknown key", d.meant(v.Type(), path, name))
			continue
		}
		d.origins[at] = d.origin(kv.Key.GetToken())
		d.value(kv.Value, v.FieldByIndex(f.index), at)
	}
}

func (d *decoder) table(n ast.Node, v reflect.Value, path string) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for name, kv := range d.entries(n, path) {
		at := join(path, name)
		d.origins[at] = d.origin(kv.Key.GetToken())
		key := reflect.New(v.Type().Key()).Elem()
		if hint, err := setText(key, name); err != nil {
			d.failAt(kv.Key, at, err.Error(), hint)
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(key); old.IsValid() {
			item.Set(old)
		}
		d.value(kv.Value, item, at)
		v.SetMapIndex(key, item)
	}
}

// entries yields the keys of a mapping with their nodes, and reports what is not
// a mapping and what is not a plain key.
func (d *decoder) entries(n ast.Node, path string) func(yield func(string, *ast.MappingValueNode) bool) {
	return func(yield func(string, *ast.MappingValueNode) bool) {
		var all []*ast.MappingValueNode
		switch n := n.(type) {
		case *ast.MappingNode:
			all = n.Values
		case *ast.MappingValueNode:
			all = []*ast.MappingValueNode{n}
		default:
			d.failAt(n, path, "want keys with values, not "+kind(n), "")
			return
		}
		seen := map[string]bool{}
		for _, kv := range all {
			name, ok := keyText(kv.Key)
			if kv.Key.IsMergeKey() {
				d.failAt(kv.Key, path, "merge keys are not allowed", "write the keys out")
				continue
			}
			if !ok {
				d.failAt(kv.Key, path, "want a plain key, not "+kind(kv.Key), "")
				continue
			}
			if seen[name] {
				d.failAt(kv.Key, join(path, name), "the key is given twice", "")
				continue
			}
			seen[name] = true
			if !yield(name, kv) {
				return
			}
		}
	}
}

func keyText(n ast.MapKeyNode) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// kind names a node for people.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case ast.ScalarNode:
		return "one value"
	default:
		return "a " + n.Type().YAMLName()
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
