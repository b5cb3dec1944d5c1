package rollout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Values are settings by their keys, each as JSON: a string, an integer, a boolean or a list
// of strings.
type Values map[string]json.RawMessage

// Bounds of settings.
const (
	MaxKeys  = 200
	MaxValue = 4096 // bytes of one value
)

var keyText = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// errValue: it is no value that a setting can have.
var errValue = errors.New("is neither a text, a whole number, true, false nor a list of texts")

// Parse brings the values into the one form in which they are compared, and finds fault with
// keys and values that no PBX has. The error names the key.
func (v Values) Parse() (Values, error) {
	if len(v) > MaxKeys {
		return nil, fmt.Errorf("there are more than %d", MaxKeys)
	}
	out := make(Values, len(v))
	for key, text := range v {
		if !keyText.MatchString(key) {
			return nil, errors.New("a key is not of small letters, digits and _")
		}
		value, err := parseValue(text)
		if err != nil {
			return nil, fmt.Errorf("%s %w", key, err)
		}
		out[key] = value
	}
	return out, nil
}

func parseValue(text json.RawMessage) (json.RawMessage, error) {
	if len(text) > MaxValue {
		return nil, fmt.Errorf("has more than %d bytes", MaxValue)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil, errValue
	}
	switch v := v.(type) {
	case string, bool:
	case json.Number:
		if _, err := v.Int64(); err != nil {
			return nil, errValue
		}
	case []any:
		for _, one := range v {
			if _, ok := one.(string); !ok {
				return nil, errValue
			}
		}
	default:
		return nil, errValue
	}
	return json.Marshal(v)
}

// Keys gives the keys, sorted.
func (v Values) Keys() []string { return slices.Sorted(maps.Keys(v)) }

// Change is what becomes of one setting.
type Change struct {
	Key string          `json:"key"`
	Old json.RawMessage `json:"old,omitempty"` // absent: the PBX has no such setting
	New json.RawMessage `json:"new"`
}

// changes gives what has to change so that a PBX has what is wanted, by key.
func changes(has, want Values) []Change {
	all := []Change{}
	for _, key := range want.Keys() {
		if !bytes.Equal(has[key], want[key]) {
			all = append(all, Change{key, has[key], want[key]})
		}
	}
	return all
}

// wanted gives the new values of changes.
func wanted(all []Change) Values {
	v := make(Values, len(all))
	for _, c := range all {
		v[c.Key] = c.New
	}
	return v
}

// differing gives the keys of base that have another value in has.
func differing(has, base Values) (keys []string) {
	for _, c := range changes(has, base) {
		keys = append(keys, c.Key)
	}
	return keys
}
