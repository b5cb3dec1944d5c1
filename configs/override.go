package configs

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// serviceLink matches the variables that Kubernetes and Docker links add for a
// service of the program's name, after the prefix
// (https://kubernetes.io/docs/concepts/services-networking/service, "Environment
// variables").
var serviceLink = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// environ merges the variables with the prefix.
func (m *merge) environ(v reflect.Value, prefix string, env []string) {
	all := leaves(v.Type())
	byName := map[string]leaf{}
	for _, l := range all {
		byName[variable(prefix, l.path)] = l
	}
	env = slices.Clone(env)
	slices.Sort(env)
	for _, entry := range env {
		name, text, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, prefix+"_")
		if !ours {
			continue
		}
		l, ok := byName[name]
		if !ok {
			if !serviceLink.MatchString(rest) {
				m.unknownVariable(name, byName)
			}
			continue
		}
		m.origins[l.path] = name
		if hint, err := setText(l.at(v), text); err != nil {
			m.fail(name, l.path, err.Error(), hint)
		}
	}
}

// variable gives the name of the environment variable of a key.
func variable(prefix, path string) string {
	return prefix + "_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

func (m *merge) unknownVariable(name string, known map[string]leaf) {
	var all []string
	for k := range known {
		all = append(all, k)
	}
	slices.Sort(all)
	hint := ""
	if s := nearest(name, all); s != "" {
		hint = "did you mean " + s + "?"
	}
	m.fail(name, "", "unknown environment variable", hint)
}

// set merges the --set overrides.
func (m *merge) set(v reflect.Value, overrides []string) {
	for _, o := range overrides {
		path, text, ok := strings.Cut(o, "=")
		origin := "--set " + path
		if !ok {
			m.fail(origin, path, "has no value", "write --set key=value")
			continue
		}
		at, ok := m.lookup(v, path, origin)
		if !ok {
			continue
		}
		m.origins[path] = origin
		if !isTextual(at.Type()) {
			m.yaml(at, path, []byte(text), func(*token.Token) string { return origin })
			continue
		}
		if hint, err := setText(at, text); err != nil {
			m.fail(origin, path, err.Error(), hint)
		}
	}
}

// lookup finds the value at a key path.
func (m *merge) lookup(v reflect.Value, path, origin string) (reflect.Value, bool) {
	walked := ""
	for name := range strings.SplitSeq(path, ".") {
		if shapeOf(v.Type()) != section {
			m.fail(origin, path, walked+" has no keys that --set can reach", "set "+walked+" as a whole, in YAML")
			return v, false
		}
		v = settle(v)
		f, ok := find(fields(v.Type()), name)
		if !ok {
			m.fail(origin, path, "unknown key", m.meant(v.Type(), walked, name))
			return v, false
		}
		walked = join(walked, name)
		v = v.FieldByIndex(f.index)
	}
	return v, true
}
