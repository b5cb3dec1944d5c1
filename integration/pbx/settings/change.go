package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Wrong is a value that cannot be set.
type Wrong struct {
	Key, Problem string
}

// Check lists the values that are not as the table says.
func Check(s *Settings) (wrong []Wrong) {
	for i := range fields {
		if f := &fields[i]; !f.fits(s) {
			wrong = append(wrong, Wrong{f.Key, "is not " + f.is})
		}
	}
	return wrong
}

// Apply sets what values names, and lists what cannot be used of it. Where there is
// anything, s must not be used any more.
func Apply(s *Settings, values map[string]json.RawMessage) (wrong []Wrong) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		f, ok := Of(key)
		switch {
		case !ok:
			wrong = append(wrong, Wrong{key, "is not a setting of this system"})
		case !f.read(s, values[key]):
			wrong = append(wrong, Wrong{key, "is of another type, want " + f.is})
		case !f.fits(s):
			wrong = append(wrong, Wrong{key, "is not " + f.is})
		}
	}
	return wrong
}

// read sets a value; ok: it is of the type.
func (f *Field) read(s *Settings, raw json.RawMessage) (ok bool) {
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return false
	}
	if list, is := f.at(s).(*[]string); is {
		*list = []string{} // a copy of s may share what was in it
	}
	return json.Unmarshal(raw, f.at(s)) == nil
}

// SetText sets a value from what somebody has typed into a form. Entries of a list are
// divided by spaces or commas, "on" is true, and what is no number is none that fits.
func (f *Field) SetText(s *Settings, text string) {
	text = strings.TrimSpace(text)
	switch v := f.at(s).(type) {
	case *string:
		*v = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			n = f.Min - 1
		}
		*v = n
	case *bool:
		*v = text == on
	case *[]string:
		*v = append([]string{}, strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })...)
	}
}

// on and off are the texts of a boolean.
const (
	on  = "on"
	off = "off"
)

// Text is the value as SetText takes it.
func (f *Field) Text(s *Settings) string { return text(f.Value(s)) }

func text(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return on
		}
		return off
	case []string:
		return strings.Join(v, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// Change is one value that differs.
type Change struct {
	Key string `json:"key"`
	// Old and New are each a string, int, bool or []string.
	Old any `json:"old"`
	New any `json:"new"`
}

// Texts gives the change as [Field.Text] does.
func (c Change) Texts() (old, now string) { return text(c.Old), text(c.New) }

// Diff lists what differs, in the order of the table.
func Diff(old, now *Settings) []Change {
	changes := []Change{}
	for i := range fields {
		f := &fields[i]
		if a, b := f.Value(old), f.Value(now); text(a) != text(b) { // an empty list may be nil
			changes = append(changes, Change{f.Key, a, b})
		}
	}
	return changes
}

// RestartNeeded tells whether a change takes effect with the next restart only.
func RestartNeeded(changes []Change) bool {
	return slices.ContainsFunc(changes, func(c Change) bool {
		f, ok := Of(c.Key)
		return ok && f.RestartNeeded
	})
}
