package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Version of the canonical form of most entries, and of exports. Those with a count have
// versionRepeats.
const (
	Version        = 1
	versionRepeats = 2
)

// Nowhere is the tenant of those who are not known: attempts to sign in for which there is
// no account.
const Nowhere = "-"

// Hash stands for an entry and all before it. As text it is hexadecimal.
type Hash [sha256.Size]byte

// String gives it in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText gives it in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText gives, and nothing else.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) || bytes.ContainsAny(text, "ABCDEF") {
		return errors.New("a hash has 64 hexadecimal digits in small letters")
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Entry is one line of the audit log. The package doc has its fields.
type Entry struct {
	Tenant    string
	Seq       int64
	At        time.Time // UTC, to the millisecond
	Actor     string
	User      string
	Home      string
	Right     string
	Operation string
	Resource  string
	Serial    string
	Outcome   string
	Fields    []string
	Access    string
	// Repeats is how often the same was refused, or has failed, again since an entry that
	// tells of it. 0: the entry is of one thing that was done or tried.
	Repeats int64
	Prev    Hash
}

// Done is the outcome of what was done.
const Done = "done"

// Refused is the outcome of what was not permitted, or not possible.
func Refused(code string) string { return "refused:" + code }

// Failed is the outcome of what the server could not do.
func Failed(code string) string { return "failed:" + code }

// canonical is an entry with its keys in the order that RFC 8785 wants.
type canonical struct {
	Access    string   `json:"access"`
	Actor     string   `json:"actor"`
	At        string   `json:"at"`
	Fields    []string `json:"fields"`
	Home      string   `json:"home"`
	Operation string   `json:"operation"`
	Outcome   string   `json:"outcome"`
	Prev      Hash     `json:"prev"`
	Repeats   int64    `json:"repeats,omitempty"`
	Resource  string   `json:"resource"`
	Right     string   `json:"right"`
	Seq       int64    `json:"seq"`
	Serial    string   `json:"serial"`
	Tenant    string   `json:"tenant"`
	User      string   `json:"user"`
	V         int      `json:"v"`
}

const timeLayout = "2006-01-02T15:04:05.000Z"

// maxFields is how many names of fields an entry has at most; maxSeq is what any reader of
// JSON takes for the same number.
const (
	maxFields = 100
	maxSeq    = 1<<53 - 1
)

// The forms of the texts. None of them has room for a name, an address of whatever kind,
// or a secret that was typed.
var forms = struct{ tenant, id, actor, right, operation, resource, serial, outcome, field, access *regexp.Regexp }{
	tenant:    regexp.MustCompile(`^(-|` + id + `)$`),
	id:        regexp.MustCompile(`^(` + id + `)?$`),
	actor:     regexp.MustCompile(`^((user|token) ` + id + `|provider [a-z0-9][a-z0-9-]{0,39}|device [0-9]{10}|ccc|nobody)$`),
	right:     regexp.MustCompile(`^(home|(grant|break_glass) ` + id + `)?$`),
	operation: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,59}(\.[a-z][a-z0-9_]{0,59})?$`),
	resource:  regexp.MustCompile(`^([a-z][a-z_]{0,39}( ` + id + `)?)?$`),
	serial:    regexp.MustCompile(`^([0-9]{10})?$`),
	outcome:   regexp.MustCompile(`^(done|(refused|failed):[a-z][a-z0-9_]{0,59})$`),
	field:     regexp.MustCompile(`^[a-z][a-z0-9_]{0,59}$`),
	access:    regexp.MustCompile(`^([0-9]{16})?$`),
}

const id = `[0-9A-Za-z_-]{1,64}`

// Validate names the first field that has not the form that it has to have.
func (e Entry) Validate() error {
	for _, f := range []struct {
		name, text string
		form       *regexp.Regexp
	}{
		{"tenant", e.Tenant, forms.tenant},
		{"actor", e.Actor, forms.actor},
		{"user", e.User, forms.id},
		{"home", e.Home, forms.id},
		{"right", e.Right, forms.right},
		{"operation", e.Operation, forms.operation},
		{"resource", e.Resource, forms.resource},
		{"serial", e.Serial, forms.serial},
		{"outcome", e.Outcome, forms.outcome},
		{"access", e.Access, forms.access},
	} {
		if !f.form.MatchString(f.text) {
			return fmt.Errorf("audit entry: %s has not the form %s", f.name, f.form)
		}
	}
	for _, f := range e.Fields {
		if !forms.field.MatchString(f) {
			return fmt.Errorf("audit entry: fields has a name that has not the form %s", forms.field)
		}
	}
	switch {
	case len(e.Fields) > maxFields:
		return fmt.Errorf("audit entry: fields has %d names, at most %d are allowed", len(e.Fields), maxFields)
	case !slices.IsSorted(e.Fields) || len(slices.Compact(slices.Clone(e.Fields))) != len(e.Fields):
		return errors.New("audit entry: fields is not sorted, or has a name twice")
	case e.Repeats < 0 || e.Repeats > maxSeq || e.Repeats > 0 && e.Outcome == Done:
		return errors.New("audit entry: repeats is not of something that was refused or has failed")
	case e.Seq < 1 || e.Seq > maxSeq:
		return errors.New("audit entry: seq is not above 0")
	case e.At.Year() < 2000 || e.At.Year() > 9999 || !e.At.Equal(e.At.Truncate(time.Millisecond)):
		return errors.New("audit entry: at is no time in milliseconds")
	}
	return nil
}

// Canonical gives the canonical form. The error is that of Validate.
func (e Entry) Canonical() ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	fields := e.Fields
	if fields == nil {
		fields = []string{}
	}
	version := Version
	if e.Repeats > 0 {
		version = versionRepeats
	}
	return json.Marshal(canonical{
		Access: e.Access, Actor: e.Actor, At: e.At.UTC().Format(timeLayout), Fields: fields, Home: e.Home, Operation: e.Operation,
		Outcome: e.Outcome, Prev: e.Prev, Repeats: e.Repeats, Resource: e.Resource, Right: e.Right, Seq: e.Seq, Serial: e.Serial, Tenant: e.Tenant, User: e.User, V: version,
	})
}

// Sum gives the hash of an entry.
func (e Entry) Sum() (Hash, error) {
	text, err := e.Canonical()
	if err != nil {
		return Hash{}, err
	}
	return sum("entry", text), nil
}

func sum(what string, text []byte) Hash {
	h := sha256.New()
	h.Write([]byte("ccc-audit-1 " + what + "\n"))
	h.Write(text)
	return Hash(h.Sum(nil))
}

// parse reads the canonical form, and nothing that only means the same.
func parse(text []byte) (e Entry, err error) {
	var c canonical
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return e, fmt.Errorf("audit entry: %w", err)
	}
	if c.V < Version || c.V > versionRepeats {
		return e, fmt.Errorf("audit entry: version %d, this program knows those up to %d; use a newer one", c.V, versionRepeats)
	}
	at, err := time.Parse(timeLayout, c.At)
	if err != nil {
		return e, errors.New("audit entry: at is no time in UTC with milliseconds")
	}
	e = Entry{
		Tenant: c.Tenant, Seq: c.Seq, At: at, Actor: c.Actor, User: c.User, Home: c.Home, Right: c.Right, Operation: c.Operation,
		Resource: c.Resource, Serial: c.Serial, Outcome: c.Outcome, Fields: c.Fields, Access: c.Access, Repeats: c.Repeats, Prev: c.Prev,
	}
	again, err := e.Canonical()
	if err == nil && !bytes.Equal(again, text) {
		err = errors.New("audit entry: it is not in the canonical form")
	}
	return e, err
}

// Split divides what an entry is about into kind and id.
func (e Entry) Split() (kind, id string) {
	kind, id, _ = strings.Cut(e.Resource, " ")
	return kind, id
}

// Code gives the code of an outcome that is not [Done].
func (e Entry) Code() string {
	_, code, _ := strings.Cut(e.Outcome, ":")
	return code
}

var isID = regexp.MustCompile(`^` + id + `$`)

// IsID tells whether a text can be an id in an entry.
func IsID(text string) bool { return isID.MatchString(text) }
