package onboarding

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// maxRecord is how many bytes after its first quotation mark a line is looked for the other
// one of a field. It is several times what the longest note has.
const maxRecord = 64 << 10

// errQuotes: a quotation mark is not closed, or in the middle of a field.
var errQuotes = errors.New("a quotation mark that begins here is not closed, or one is in the middle of a field; two of them stand for one")

// records reads the lines of a list. It is more patient than [csv.Reader], which takes all
// up to the next quotation mark for one field: a line whose marks are wrong ends where the
// text breaks, and what follows is read.
type records struct {
	text  []byte // what is left
	comma byte
	line  int // number of the first line of text
	at    []Column
}

// next gives the fields of the next line that is not empty, and its number; io.EOF after
// the last, errQuotes with the number of the line.
func (r *records) next() (fields []string, number int, err error) {
	for len(r.text) > 0 {
		number = r.line
		n, closed := r.extent()
		if closed {
			fields, err = r.parse(r.text[:n])
		}
		if !closed || err != nil && !errors.Is(err, io.EOF) || r.swallows(fields, r.text[:n]) {
			n, fields, err = lineOf(r.text), nil, errQuotes
		}
		r.line += bytes.Count(r.text[:n], []byte("\n"))
		r.text = r.text[n:]
		if !errors.Is(err, io.EOF) {
			return fields, number, err
		}
	}
	return nil, r.line, io.EOF
}

// parse reads one line; io.EOF where it is empty.
func (r *records) parse(text []byte) ([]string, error) {
	c := csv.NewReader(bytes.NewReader(text))
	c.Comma, c.FieldsPerRecord, c.TrimLeadingSpace = rune(r.comma), -1, r.comma != '\t'
	return c.Read()
}

// lineOf gives how many bytes there are up to the first line break, with it.
func lineOf(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// extent gives how many bytes the first line has with those that its quoted fields go on
// in, and whether these have an end.
func (r *records) extent() (n int, closed bool) {
	const (
		begin  = iota // of a field
		plain         // in one without quotation marks, or after the closing one
		quoted        // in one with them
		ended         // after a mark in one, which is the closing one unless another follows
	)
	state, opened := begin, -1
	for i, b := range r.text {
		switch {
		case state == quoted && i-opened > maxRecord:
			return 0, false
		case state == quoted:
			if b == '"' {
				state = ended
			}
		case state == ended && b == '"':
			state = quoted
		case b == '\n':
			return i + 1, true
		case b == r.comma:
			state = begin
		case state == begin && b == '"':
			if state = quoted; opened < 0 {
				opened = i
			}
		case state == begin && (b == ' ' || b == '\t'):
		default:
			state = plain
		}
	}
	return len(r.text), state != quoted
}

// swallows tells whether a line only seems to go on in the next ones, because a mark that
// was forgotten is closed by one of another line: a field that has no line breaks has some,
// and one of those lines has a serial of its own.
func (r *records) swallows(fields []string, text []byte) bool {
	broken := false
	for i, f := range fields {
		broken = broken || i < len(r.at) && r.at[i] != Note && strings.Contains(f, "\n")
	}
	serial := slices.Index(r.at, Serial)
	if !broken || serial < 0 {
		return false
	}
	for rest := text[lineOf(text):]; len(rest) > 0; rest = rest[lineOf(rest):] {
		// Marks of a field that began before are in the way of nothing here.
		cells := bytes.Split(rest[:lineOf(rest)], []byte{r.comma})
		if serial >= len(cells) {
			continue
		}
		if _, err := identity.ParseSerial(bareSerial(strings.Trim(string(cells[serial]), "\" \t\r\n"))); err == nil {
			return true
		}
	}
	return false
}

// bareSerial leaves out what people divide the digits of a serial with.
func bareSerial(text string) string {
	return strings.NewReplacer(" ", "", "-", "", "\u00a0", "").Replace(text)
}

// separator reads the line "sep=;" with which Excel says what divides the fields; 0: there
// is none, or it is nothing that divides fields here.
func separator(text []byte) (comma byte, rest []byte, said bool) {
	n := lineOf(text)
	first := bytes.Trim(bytes.TrimRight(text[:n], " \r\n"), `"`)
	if len(first) != len("sep=;") || !bytes.EqualFold(first[:4], []byte("sep=")) {
		return 0, text, false
	}
	if comma = first[4]; !slices.Contains(commas, comma) {
		comma = 0
	}
	return comma, text[n:], true
}

// commas are what divides fields.
var commas = []byte{',', ';', '\t'}

// commaOf gives what divides the fields of the first line: what makes the most columns.
func commaOf(text []byte) byte {
	best, most := commas[0], 0
	for _, comma := range commas {
		c := csv.NewReader(bytes.NewReader(text[:lineOf(text)]))
		c.Comma, c.LazyQuotes = rune(comma), true
		fields, _ := c.Read()
		known := 0
		for _, f := range fields {
			if columnOf(f) != "" {
				known++
			}
		}
		if known > most {
			best, most = comma, known
		}
	}
	return best
}
