// Package configs holds the shipped, commented example files and the one strict
// loader that every program reads its configuration with.
//
// # How a program is configured
//
// A Config struct whose fields carry yaml tags is the manual: each key is
// documented on its field. Values are merged in this order, the later wins:
//
//	defaults in the struct  <  file  <  environment  <  --set key=value
//
// Structs are merged key by key, maps entry by entry; a list replaces the list
// before it. [Load] then calls the struct's Validate method.
//
//	cfg := relay.Default()
//	err := configs.Load(&cfg, configs.Source{
//		Path:      "auerproxy.yaml",
//		EnvPrefix: "AUERPROXY",
//		Set:       []string{"relay.listen=:443"},
//	})
//
// # Strictness
//
// An unknown key, a wrong type, a key given twice and an unknown environment
// variable with the program's prefix are errors. [Load] goes on after an error
// and returns all of them at once as [Errors], each with the place it comes from
// and, where it can be guessed, what was meant:
//
//	auerproxy.yaml:12:3: relay.lsiten: unknown key (did you mean "listen"?)
//
// The files are YAML 1.2 (https://yaml.org/spec/1.2.2) without anchors, aliases,
// merge keys, tags and second documents; those are refused. A scalar is taken as
// it is written: the serial 0012345 stays 0012345 without quotes.
//
// # Environment
//
// A variable is the prefix and the key path in capitals, with dots and dashes as
// underscores: relay.max-streams is AUERPROXY_RELAY_MAX_STREAMS. Every scalar and
// every list of scalars (comma-separated) can be set so. Variables that container
// runtimes add for a service of the program's name (AUERPROXY_SERVICE_HOST,
// AUERPROXY_PORT_443_TCP_ADDR) are ignored.
//
// # Types of keys
//
// Strings, numbers, booleans, time.Duration ("90s"), [Bytes] ("64KiB"),
// [SecretFile], every encoding.TextUnmarshaler, and structs, pointers, lists and
// maps of them. A secret never stands in a configuration: its key holds the path
// of a file.
//
// Every exported field of a Config has a yaml tag; fields that are not keys are
// tagged "-", and the fields of a struct tagged ",inline" are keys of the struct
// around it. Load panics on a Config that breaks this rule.
package configs

import (
	"fmt"
	"os"
	"reflect"
)

// Source says where [Load] reads values from. The zero value reads nothing and
// leaves the defaults.
type Source struct {
	// Path of the YAML file. Empty: no file.
	Path string
	// Text, where it is not nil, is the file's text, e.g. of one that is part of the
	// program. No file is read then; Path only names it in errors.
	Text []byte
	// EnvPrefix is the prefix of environment variables without the
	// underscore, e.g. AUERPROXY. Empty: the environment is not read.
	EnvPrefix string
	// Env is the environment as "NAME=value". Nil: os.Environ.
	Env []string
	// Set are overrides as "key.path=value", as given on a command line. The
	// value of a scalar and of a list of scalars is written as in an
	// environment variable, every other value as YAML: policy=[{caller: ccc}].
	Set []string
}

// Load merges src into dst, a pointer to a struct that already holds the
// defaults. Where dst has a method Validate() error, Load calls it after the
// merge; give its errors as [*KeyError] (joined with errors.Join where there are
// several), so that they can be shown at the key's place in the file.
//
// Wrong configuration gives [Errors]; a file that cannot be read gives the error
// of package os. After an error dst is not to be used.
func Load(dst any, src Source) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("configs: Load wants a pointer to a struct, not %T", dst)
	}
	m := &merge{origins: map[string]string{}}
	text := src.Text
	if text == nil && src.Path != "" {
		var err error
		if text, err = os.ReadFile(src.Path); err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
	}
	if text != nil {
		m.file(v.Elem(), src.Path, text)
	}
	if src.EnvPrefix != "" {
		env := src.Env
		if env == nil {
			env = os.Environ()
		}
		m.environ(v.Elem(), src.EnvPrefix, env)
	}
	m.set(v.Elem(), src.Set)
	if d, ok := dst.(interface{ Validate() error }); ok {
		m.validated(d.Validate())
	}
	if len(m.errs) > 0 {
		return m.errs
	}
	return nil
}

// merge is the state of one Load.
type merge struct {
	// origins has, for each key path that was set, where that happened:
	// "auerproxy.yaml:3:5", "AUERPROXY_RELAY_LISTEN" or "--set relay.listen".
	origins map[string]string
	errs    Errors
}

// fail records a problem of the key at the origin.
func (m *merge) fail(origin, key, problem, hint string) {
	m.errs = append(m.errs, &KeyError{Key: key, Problem: problem, Hint: hint, Origin: origin})
}

// validated adds what Validate found, except on keys whose value could not be
// read: their problem has been reported already.
func (m *merge) validated(err error) {
	known := map[string]bool{}
	for _, e := range m.errs {
		known[e.Key] = true
	}
	for _, e := range flatten(err) {
		if e.Key != "" && known[e.Key] {
			continue
		}
		if e.Origin == "" {
			e.Origin = m.origins[e.Key]
		}
		m.errs = append(m.errs, e)
	}
}
