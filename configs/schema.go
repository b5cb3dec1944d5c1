package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// field is one key of a struct.
type field struct {
	name  string
	index []int // for reflect.Value.FieldByIndex; longer than one for inline structs
	typ   reflect.Type
}

// fields gives the keys of a struct type in the order of declaration. It panics
// on an exported field without a yaml tag: silently ignoring it would make a key
// of the manual that cannot be set.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("yaml")
		if !f.IsExported() || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if slices.Contains(strings.Split(options, ","), "inline") {
			for _, inner := range fields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				all = append(all, inner)
			}
			continue
		}
		if !tagged || name == "" {
			panic(fmt.Sprintf("configs: field %s of %s has no yaml tag", f.Name, t))
		}
		all = append(all, field{name: name, index: []int{i}, typ: f.Type})
	}
	return all
}

// names gives the keys' names.
func names(fs []field) []string {
	all := make([]string, len(fs))
	for i, f := range fs {
		all[i] = f.name
	}
	return all
}

// find gives the key of that name.
func find(fs []field, name string) (field, bool) {
	i := slices.IndexFunc(fs, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fs[i], true
}

// shape is what a type looks like in a configuration.
type shape int

const (
	scalar  shape = iota // one text
	section              // a struct: fixed keys
	list                 // a slice
	table                // a map: free keys
	alien                // cannot be configured
)

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// shapeOf gives the shape of a type; a pointer has the shape of what it points
// to.
func shapeOf(t reflect.Type) shape {
	t = deref(t)
	if reflect.PointerTo(t).Implements(textUnmarshaler) || t == reflect.TypeFor[time.Duration]() {
		return scalar
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return scalar
	case reflect.Struct:
		return section
	case reflect.Slice:
		return list
	case reflect.Map:
		return table
	default:
		return alien
	}
}

// isTextual tells whether a value can be given as one text: a scalar or a list
// of scalars.
func isTextual(t reflect.Type) bool {
	s := shapeOf(t)
	return s == scalar || s == list && shapeOf(deref(t).Elem()) == scalar
}

func deref(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// settle follows pointers, making what they point to where they are nil.
func settle(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return v
}

// leaf is a key that can be given as one text, anywhere below the top struct
// but not inside lists and maps.
type leaf struct {
	path  string
	index [][]int // one step for each struct on the way
}

// leaves gives every such key of a struct type.
func leaves(t reflect.Type) []leaf {
	var all []leaf
	for _, f := range fields(t) {
		switch {
		case isTextual(f.typ):
			all = append(all, leaf{f.name, [][]int{f.index}})
		case shapeOf(f.typ) == section:
			for _, l := range leaves(deref(f.typ)) {
				all = append(all, leaf{f.name + "." + l.path, append([][]int{f.index}, l.index...)})
			}
		}
	}
	return all
}

// at gives the value of a leaf in the top struct.
func (l leaf) at(v reflect.Value) reflect.Value {
	for _, step := range l.index {
		v = settle(v).FieldByIndex(step)
	}
	return v
}
