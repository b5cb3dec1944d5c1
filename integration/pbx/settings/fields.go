package settings

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a PBX knows time zones wherever it runs
	"unicode"
	"unicode/utf8"
)

// Type is the JSON type of a value. A list is one of strings.
type Type string

// The types.
const (
	String  Type = "string"
	Integer Type = "integer"
	Boolean Type = "boolean"
	List    Type = "list"
)

// Field says what a value may be. As JSON it describes the field to programs.
type Field struct {
	Key  string `json:"key"`
	Type Type   `json:"type"`
	// Min and Max bound an integer, the bytes of a string, and the entries of a list.
	Min int `json:"min"`
	Max int `json:"max"`
	// Enum has the values of a string, or of a list's entries, where they are a closed set.
	Enum []string `json:"enum,omitempty"`
	// Pattern is a regular expression for the whole string.
	Pattern string `json:"pattern,omitempty"`
	// RestartNeeded tells that a change takes effect with the next restart.
	RestartNeeded bool `json:"restart_needed"`

	at      func(*Settings) any // a pointer to the value
	form    *regexp.Regexp      // of Pattern
	meaning func(v any) bool    // what no pattern can say; nil: nothing
	is      string              // what the value is to be, for errors
}

// patterns of strings.
const (
	hostPattern   = `[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?`
	zonePattern   = `[A-Za-z]+(/[A-Za-z0-9_+-]+)*`
	windowPattern = `(([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9])?`
)

// Languages and Codecs are closed sets of values, and so are Countries.
var (
	Languages = []string{"de", "en", "fr"}
	Codecs    = []string{"opus", "g722", "g711a", "g711u", "g729"}
	Countries = []string{"AT", "BE", "CH", "DE", "DK", "ES", "FR", "GB", "IT", "LI", "LU", "NL", "PL"}
)

// fields is the table, in the order in which people see it.
var fields = compile([]Field{
	{Key: "name", Type: String, Min: 1, Max: 64, at: func(s *Settings) any { return &s.Name }, meaning: isName, is: "a printable name of 1 to 64 bytes"},
	{Key: "language", Type: String, Enum: Languages, at: func(s *Settings) any { return &s.Language }},
	{Key: "country", Type: String, Enum: Countries, RestartNeeded: true, at: func(s *Settings) any { return &s.Country }},
	{Key: "time_zone", Type: String, Min: 1, Max: 64, Pattern: zonePattern, at: func(s *Settings) any { return &s.TimeZone }, meaning: isZone, is: "a time zone of the IANA database, as Europe/Berlin"},
	{Key: "ntp_server", Type: String, Min: 1, Max: 253, Pattern: hostPattern, at: func(s *Settings) any { return &s.NTPServer }, is: "a host name or an address"},
	{Key: "ntp_interval_minutes", Type: Integer, Min: 1, Max: 1440, at: func(s *Settings) any { return &s.NTPIntervalMinutes }},
	{Key: "dns_servers", Type: List, Max: 3, RestartNeeded: true, at: func(s *Settings) any { return &s.DNSServers }, meaning: areAddresses, is: "a list of at most 3 different IP addresses"},
	{Key: "syslog_server", Type: String, Max: 253, Pattern: "(" + hostPattern + ")?", at: func(s *Settings) any { return &s.SyslogServer }, is: "a host name or an address, or empty"},
	{Key: "sip_registration_expiry_seconds", Type: Integer, Min: 60, Max: 3600, RestartNeeded: true, at: func(s *Settings) any { return &s.SIPRegistrationExpirySeconds }},
	{Key: "codec_order", Type: List, Min: 1, Max: len(Codecs), Enum: Codecs, RestartNeeded: true, at: func(s *Settings) any { return &s.CodecOrder }},
	{Key: "voicemail_max_minutes", Type: Integer, Min: 1, Max: 60, at: func(s *Settings) any { return &s.VoicemailMaxMinutes }},
	{Key: "music_on_hold", Type: Boolean, at: func(s *Settings) any { return &s.MusicOnHold }},
	{Key: "maintenance_window", Type: String, Max: 11, Pattern: windowPattern, at: func(s *Settings) any { return &s.MaintenanceWindow }, is: "a time of day as 02:00-04:00, or empty"},
	{Key: "contact_days", Type: Integer, Min: 1, Max: 365, at: func(s *Settings) any { return &s.ContactDays }},
	{Key: "calls_per_day", Type: Integer, Max: 10_000, at: func(s *Settings) any { return &s.CallsPerDay }},
	{Key: "calldata_id_zero", Type: Boolean, at: func(s *Settings) any { return &s.CallDataIDZero }},
})

// compile completes the table.
func compile(all []Field) []Field {
	for i := range all {
		f := &all[i]
		if f.Pattern != "" {
			f.Pattern = "^" + f.Pattern + "$"
			f.form = regexp.MustCompile(f.Pattern)
		}
		switch {
		case f.is != "":
		case f.Type == Integer:
			f.is = fmt.Sprintf("a number from %d to %d", f.Min, f.Max)
		case f.Type == Boolean:
			f.is = "true or false"
		case f.Type == List:
			f.is = fmt.Sprintf("a list of %d to %d different values of %s", f.Min, f.Max, strings.Join(f.Enum, ", "))
		default:
			f.Min, f.Max = len(slices.MinFunc(f.Enum, byLength)), len(slices.MaxFunc(f.Enum, byLength))
			f.is = "one of " + strings.Join(f.Enum, ", ")
		}
	}
	return all
}

func byLength(a, b string) int { return len(a) - len(b) }

// Fields gives the table. It must not be changed.
func Fields() []Field { return fields }

// Of gives the field of a key, and whether there is one.
func Of(key string) (*Field, bool) {
	i := slices.IndexFunc(fields, func(f Field) bool { return f.Key == key })
	if i < 0 {
		return nil, false
	}
	return &fields[i], true
}

// Value gives the field's value: a string, int, bool or []string.
func (f *Field) Value(s *Settings) any {
	switch v := f.at(s).(type) {
	case *string:
		return *v
	case *int:
		return *v
	case *bool:
		return *v
	default:
		return *v.(*[]string)
	}
}

// fits tells whether the value may be what it is.
func (f *Field) fits(s *Settings) bool {
	v := f.Value(s)
	switch v := v.(type) {
	case string:
		if len(v) < f.Min || len(v) > f.Max || !utf8.ValidString(v) ||
			len(f.Enum) > 0 && !slices.Contains(f.Enum, v) || f.form != nil && !f.form.MatchString(v) {
			return false
		}
	case int:
		if v < f.Min || v > f.Max {
			return false
		}
	case []string:
		if len(v) < f.Min || len(v) > f.Max || f.Enum != nil && slices.ContainsFunc(v, func(one string) bool { return !slices.Contains(f.Enum, one) }) {
			return false
		}
		for i, one := range v {
			if slices.Contains(v[:i], one) {
				return false
			}
		}
	}
	return f.meaning == nil || f.meaning(v)
}

func isName(v any) bool {
	name := v.(string)
	return strings.TrimSpace(name) != "" && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

func isZone(v any) bool {
	_, err := time.LoadLocation(v.(string))
	return err == nil && v != "Local"
}

func areAddresses(v any) bool {
	return !slices.ContainsFunc(v.([]string), func(one string) bool {
		addr, err := netip.ParseAddr(one)
		return err != nil || addr.Zone() != "" || addr.String() != one
	})
}
