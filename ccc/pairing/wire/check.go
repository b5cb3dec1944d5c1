package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Limits of single fields.
const (
	// MaxID bounds ids, in bytes.
	MaxID = 64
	// MaxName bounds the tenant's name, in bytes.
	MaxName = 256
	// MaxSecret bounds user and password, in bytes.
	MaxSecret = 128
	// NonceLen is the length of both nonces, in bytes.
	NonceLen = 32
	// MaxOffers is how many offers a [Sync] names.
	MaxOffers = 8
	// MaxTombstones is how many tombstones a [Sync] carries.
	MaxTombstones = 2
	// MaxLife bounds the time from an offer's issue to its end.
	MaxLife = 24 * time.Hour
)

// errJSON: the text is not the one JSON value that was expected.
var errJSON = errors.New("malformed JSON, or a time or base64 text of the wrong form")

// decode reads one JSON value. The error names the field and never holds a value,
// which may be a secret.
func decode(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(into); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
			return fmt.Errorf("%s: is not %s", wrong.Field, article(wrong.Type))
		}
		return errJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more follows the value", errJSON)
	}
	return nil
}

// article names a JSON type.
func article(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a base64 string"
		}
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a whole number in range"
	}
}

// checks collects what is wrong with the fields of a message.
type checks []error

func (c *checks) fail(field, format string, args ...any) {
	*c = append(*c, fmt.Errorf(field+": "+format, args...))
}

// id wants letters, digits and dashes.
func (c *checks) id(field, s string) {
	bad := strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
	})
	if s == "" || len(s) > MaxID || bad {
		c.fail(field, "is not an id of 1 to %d letters, digits and dashes", MaxID)
	}
}

func (c *checks) serial(s identity.Serial) {
	if _, err := identity.ParseSerial(string(s)); err != nil {
		c.fail("serial", "is not a serial of %d digits", identity.SerialLen)
	}
}

// name wants a name that can be shown.
func (c *checks) name(field, s string) { c.line(field, s, MaxName) }

// line wants text of at most most bytes that can be shown in one line: no control and no
// invisible characters, which could make it look like another.
func (c *checks) line(field, s string, most int) {
	bad := strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	if strings.TrimSpace(s) == "" || len(s) > most || !utf8.ValidString(s) || bad {
		c.fail(field, "is not a printable line of 1 to %d bytes", most)
	}
}

// seconds wants a time from a second to most.
func (c *checks) seconds(field string, d, most time.Duration) {
	if d < time.Second || d > most {
		c.fail(field, "is not from 1 to %d", int64(most/time.Second))
	}
}

func (c *checks) state(s grant.State) {
	if !s.Valid() {
		c.fail("state", "is not one of the list")
	}
}

// CheckTenant tells whether PBXs take offers of a tenant with this legal name and brand:
// the name is 1 to [MaxName] bytes of printable text, the brand empty or 1 to [MaxID]
// letters, digits and dashes. The errors name the fields tenant and brand.
func CheckTenant(legalName, brand string) error {
	var c checks
	c.tenant(legalName, brand)
	return c.err()
}

func (c *checks) tenant(legalName, brand string) {
	c.name("tenant", legalName)
	if brand != "" {
		c.id("brand", brand)
	}
}

func (c *checks) length(field string, b []byte, want int) {
	if len(b) != want {
		c.fail(field, "has %d bytes, want %d", len(b), want)
	}
}

// secret never tells what it looked at.
func (c *checks) secret(field string, s Secret) {
	text := s.Reveal()
	if text == "" || len(text) > MaxSecret || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		c.fail(field, "is not 1 to %d printable ASCII characters", MaxSecret)
	}
}

func (c *checks) time(field string, t time.Time) {
	if t.IsZero() || t.Year() > 9999 {
		c.fail(field, "is missing or out of range")
	}
}

// version wants a count of changes.
func (c *checks) version(field string, v int64) {
	if v <= 0 {
		c.fail(field, "is %d, they start with 1", v)
	}
}

func (c checks) err() error { return errors.Join(c...) }

// checker is a message that can judge itself.
type checker interface{ check() error }

// encode writes a message that is right.
func encode(m checker) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// read fills into where the text is a right message.
func read[T checker](data []byte, into *T) error {
	var m T
	if err := decode(data, &m); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	*into = m
	return nil
}
