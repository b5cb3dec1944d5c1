package configs

import (
	"errors"
	"strings"
)

// KeyError is one problem of one key.
type KeyError struct {
	// Key is the path of the key: relay.listen, policy[2].caller. Empty: the
	// problem is of the whole configuration.
	Key string
	// Problem says what is wrong, in a few words that follow the key.
	Problem string
	// Hint says what to do about it. Optional.
	Hint string
	// Origin is where the value comes from: "file:line:column", the name of an
	// environment variable or "--set key". Load fills it in; empty where the
	// value is a default.
	Origin string
	// Cause is the error behind the problem, for errors.Is. Optional.
	Cause error
}

// Error gives "origin: key: problem (hint)" on one line.
func (e *KeyError) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Origin, e.Key} {
		// "--set relay.listen" already names the key.
		if part == "" || e.Origin == "--set "+part {
			continue
		}
		b.WriteString(part + ": ")
	}
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *KeyError) Unwrap() error { return e.Cause }

// Errors are all problems of one configuration: those of the file in the order
// of its lines, then environment, --set and validation.
type Errors []*KeyError

// Error gives one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, k := range e {
		lines[i] = k.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems, for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, k := range e {
		all[i] = k
	}
	return all
}

// Under puts the key paths of an error that a section's Validate returned below
// the section's own key, so that the Validate of a whole Config reads:
//
//	return errors.Join(
//		configs.Under("relay", c.Relay.Validate()),
//		configs.Under("pki", c.PKI.Validate()),
//	)
//
// An error that names no key becomes a [*KeyError] of the section. Nil stays nil.
func Under(section string, err error) error {
	found := flatten(err)
	if len(found) == 0 {
		return nil
	}
	for _, e := range found {
		switch {
		case e.Key == "":
			e.Key = section
		case strings.HasPrefix(e.Key, "["):
			e.Key = section + e.Key
		default:
			e.Key = section + "." + e.Key
		}
	}
	return found
}

// flatten gives the problems in an error tree as copies that the caller may
// change.
func flatten(err error) Errors {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all Errors
		for _, e := range many.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	if e, ok := errors.AsType[Errors](err); ok {
		return flatten(e)
	}
	if e, ok := errors.AsType[*KeyError](err); ok {
		c := *e
		return Errors{&c}
	}
	return Errors{{Problem: err.Error(), Cause: err}}
}
