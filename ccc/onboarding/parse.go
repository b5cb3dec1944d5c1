package onboarding

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Code says in a stable word what is wrong with a line. The list is append-only.
type Code string

// The codes.
const (
	Required  Code = "required"  // it is empty
	Pattern   Code = "pattern"   // a serial is not ten digits, or a text has control characters
	TooLong   Code = "too_long"  // a text
	TooMany   Code = "too_many"  // groups or tags
	Duplicate Code = "duplicate" // the serial is in an earlier line, see Fault.Other
	Encoding  Code = "encoding"  // it is not UTF-8
	Quotes    Code = "quotes"    // a quotation mark is not closed, or in the middle of a field
	Columns   Code = "columns"   // it has more fields than there are columns
)

// Fault is one thing that is wrong with a line. It does not repeat what is there.
type Fault struct {
	Column  Column // empty: the line as a whole
	Code    Code
	Message string // in English, for developers
	Other   int    // with Duplicate: the number of the other line
}

// Line of a list.
type Line struct {
	Number int // of its first line in the file, from 1
	Serial identity.Serial
	Name   string
	Note   string
	Site   string
	Groups []string
	Tags   []string
	Faults []Fault
}

// List is what was read.
type List struct {
	Columns []Column // in the order of the file
	Ignored []string // headings that are none of ours, as far as they are short and few
	Lines   []Line   // without empty ones
}

// The bounds of what is typed, which are those of the API for one system.
const (
	maxName  = 100
	maxNote  = 2000
	maxTag   = 40
	maxGroup = 60
	maxItems = 20
)

// Error is a list that cannot be read at all.
type Error struct {
	Code    Code // Required, TooMany, Duplicate or Encoding
	Message string
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// Parse reads a list of at most limit lines. The error is an [*Error].
func Parse(text []byte, limit int) (List, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return List{}, &Error{Encoding, "the list is in UTF-16; save it as CSV in UTF-8"}
	}
	r := &records{line: 1}
	var said bool
	if r.comma, r.text, said = separator(bytes.TrimPrefix(text, []byte("\ufeff"))); said {
		r.line++
	}
	r.comma = cmp.Or(r.comma, commaOf(r.text))
	head, _, err := r.next()
	if errors.Is(err, io.EOF) {
		return List{}, &Error{Required, "the list is empty; its first line names the columns: serial, name, note, site, groups, tags"}
	}
	if err != nil {
		return List{}, &Error{Encoding, "the first line, which names the columns, cannot be read: " + err.Error()}
	}
	list, at, err := columns(head)
	if err != nil {
		return List{}, err
	}
	r.at = at
	seen := map[identity.Serial]int{}
	for {
		fields, number, err := r.next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		line := Line{Number: number, Groups: []string{}, Tags: []string{}}
		if err != nil {
			line.fault("", Quotes, err.Error())
		} else {
			if !slices.ContainsFunc(fields, func(f string) bool { return strings.TrimSpace(f) != "" }) {
				continue
			}
			line.read(fields, at)
			line.unique(seen)
		}
		if len(list.Lines) >= limit {
			return List{}, &Error{TooMany, fmt.Sprintf("the list has more than %d lines; divide it", limit)}
		}
		list.Lines = append(list.Lines, line)
	}
}

// columns reads the headings: which column is where.
func columns(head []string) (list List, at []Column, err error) {
	list.Columns, list.Ignored = []Column{}, []string{}
	for _, heading := range head {
		column := columnOf(heading)
		switch {
		case column == "":
			text := strings.TrimSpace(heading)
			if text != "" && utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxName && len(list.Ignored) < maxItems {
				list.Ignored = append(list.Ignored, text)
			}
		case slices.Contains(list.Columns, column):
			return list, nil, &Error{Duplicate, "there are two columns for " + string(column)}
		default:
			list.Columns = append(list.Columns, column)
		}
		at = append(at, column)
	}
	for _, needed := range []Column{Serial, Name} {
		if !slices.Contains(list.Columns, needed) {
			return list, nil, &Error{Required, "there is no column " + string(needed) + "; the first line names the columns: serial, name, note, site, groups, tags"}
		}
	}
	return list, at, nil
}

func (l *Line) fault(column Column, code Code, message string) {
	l.Faults = append(l.Faults, Fault{Column: column, Code: code, Message: message})
}

// read takes the fields.
func (l *Line) read(fields []string, at []Column) {
	values := map[Column]string{}
	if len(fields) > len(at) && slices.ContainsFunc(fields[len(at):], func(f string) bool { return strings.TrimSpace(f) != "" }) {
		// Each field may be in the wrong column.
		l.fault("", Columns, fmt.Sprintf("has %d fields, and the first line names %d; one with a divider in it has quotation marks around it", len(fields), len(at)))
		return
	}
	for i, f := range fields {
		if i >= len(at) || at[i] == "" {
			continue
		}
		if !utf8.ValidString(f) {
			l.fault(at[i], Encoding, "is not UTF-8; save the list as CSV in UTF-8")
			f = ""
		}
		values[at[i]] = strings.TrimSpace(strings.ReplaceAll(f, "\r\n", "\n"))
	}
	if slices.ContainsFunc(l.Faults, func(f Fault) bool { return f.Column == Serial || f.Column == Name }) {
		return // nothing is missing, it cannot be read
	}
	l.serial(values[Serial])
	l.Name = l.text(Name, values[Name], maxName, false)
	if l.Name == "" && values[Name] == "" {
		l.fault(Name, Required, "is missing")
	}
	l.Note = l.text(Note, values[Note], maxNote, true)
	l.Site = l.text(Site, values[Site], maxName, false)
	l.Groups = l.several(Groups, values[Groups], maxGroup)
	l.Tags = l.several(Tags, values[Tags], maxTag)
}

func (l *Line) serial(text string) {
	if text == "" {
		l.fault(Serial, Required, "is missing")
		return
	}
	serial, err := identity.ParseSerial(bareSerial(text))
	if err != nil {
		l.fault(Serial, Pattern, "is not a serial of 10 digits; a spreadsheet takes zeros at its beginning away, unless the column is formatted as text")
		return
	}
	l.Serial = serial
}

// text looks at a text, which may have line breaks or not; empty where something is wrong.
func (l *Line) text(column Column, text string, most int, breaks bool) string {
	for _, r := range text {
		if r == 0x7f || r < ' ' && (!breaks || r != '\n' && r != '\t' && r != '\r') {
			l.fault(column, Pattern, "has a control character or a line break")
			return ""
		}
	}
	if n := utf8.RuneCountInString(text); n > most {
		l.fault(column, TooLong, fmt.Sprintf("has %d characters, and may have %d", n, most))
		return ""
	}
	return text
}

// several divides a field.
func (l *Line) several(column Column, text string, most int) []string {
	divider := ","
	if strings.Contains(text, "|") {
		divider = "|"
	}
	all := []string{}
	for part := range strings.SplitSeq(text, divider) {
		part = strings.TrimSpace(part)
		if part == "" || slices.Contains(all, part) {
			continue
		}
		faults := len(l.Faults)
		if l.text(column, part, most, false); len(l.Faults) > faults {
			return []string{}
		}
		if len(all) == maxItems {
			l.fault(column, TooMany, fmt.Sprintf("has more than %d", maxItems))
			return []string{}
		}
		all = append(all, part)
	}
	return all
}

// unique looks whether an earlier line has the serial.
func (l *Line) unique(seen map[identity.Serial]int) {
	if l.Serial == "" {
		return
	}
	if other, twice := seen[l.Serial]; twice {
		l.Faults = append(l.Faults, Fault{Serial, Duplicate, fmt.Sprintf("lines %d and %d have the same serial; the first counts", other, l.Number), other})
		return
	}
	seen[l.Serial] = l.Number
}
