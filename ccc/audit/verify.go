package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine is how long a line of an export may be.
const maxLine = 64 << 10

// Start is the first line of an export.
type Start struct {
	Audit  int    `json:"audit"` // the version
	Tenant string `json:"tenant"`
	After  int64  `json:"after"` // the number of the last entry that is not in it; 0: it has all
	Hash   Hash   `json:"hash"`  // of that entry
	Head   string `json:"head"`  // signed, of that entry; empty where it has all
}

// Line is an entry in an export.
type Line struct {
	Entry json.RawMessage `json:"entry"`
	Hash  Hash            `json:"hash"`
}

// NewLine makes the line of an entry.
func NewLine(e Entry, hash Hash) (Line, error) {
	text, err := e.Canonical()
	return Line{text, hash}, err
}

// last is the end of an export.
type last struct {
	Head string `json:"head"`
}

// Writer writes an export. Errors are those of the writer below it, kept until the end.
type Writer struct {
	to  *bufio.Writer
	err error
}

// NewWriter begins an export.
func NewWriter(to io.Writer, s Start) *Writer {
	w := &Writer{to: bufio.NewWriterSize(to, maxLine)}
	s.Audit = Version
	w.line(s)
	return w
}

func (w *Writer) line(v any) {
	text, err := json.Marshal(v)
	if w.err = errors.Join(w.err, err); w.err == nil {
		_, w.err = w.to.Write(append(text, '\n'))
	}
}

// Add writes an entry.
func (w *Writer) Add(e Entry, hash Hash) error {
	l, err := NewLine(e, hash)
	if err == nil {
		w.line(l)
	}
	return errors.Join(err, w.err)
}

// End writes the signed head, and what is left.
func (w *Writer) End(head string) error {
	w.line(last{head})
	return errors.Join(w.err, w.to.Flush())
}

// Options are for [Verify].
type Options struct {
	// Open reads a signed head, as [OpenHead] does. Nil: signatures are not looked at.
	Open func(text string) (Head, error)
	// Heads are older ones that were kept.
	Heads []Head
	// Progress is told the number of entries that were looked at, every now and then.
	// Optional.
	Progress func(entries int64)
}

// Report is what [Verify] has found.
type Report struct {
	Tenant  string `json:"tenant"`
	After   int64  `json:"after"` // where it begins
	Last    int64  `json:"last"`  // the last entry that is good
	Hash    Hash   `json:"hash"`  // of that
	Entries int64  `json:"entries"`
	// Signed: the heads in it are signed by service/ccc.
	Signed bool   `json:"signed"`
	Fault  *Fault `json:"fault,omitempty"` // nil: nothing is wrong
}

const progressEvery = 5000

// Verify looks through an export, up to the first fault, which is in the report. The error
// is of the reader.
func Verify(r io.Reader, o Options) (Report, error) {
	v := &verifier{Options: o, in: bufio.NewReaderSize(r, maxLine)}
	err := v.run()
	if v.check != nil {
		h := v.check.Head()
		v.report.Last, v.report.Hash = h.Seq, h.Hash
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		v.report.Fault, err = f, nil
	}
	v.report.Signed = err == nil && v.report.Fault == nil && o.Open != nil
	return v.report, err
}

type verifier struct {
	Options
	in     *bufio.Reader
	n      int64 // of the line
	check  *Checker
	report Report
}

func (v *verifier) fault(kind Kind, text string) error {
	f := &Fault{Kind: kind, Line: v.n, Text: text}
	if v.check != nil {
		f.Seq = v.check.Head().Seq + 1
	}
	return f
}

// next gives a line without its end; io.EOF after the last.
func (v *verifier) next() ([]byte, error) {
	text, err := v.in.ReadSlice('\n')
	v.n++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, v.fault(Malformed, fmt.Sprintf("the line is longer than %d bytes", maxLine))
	case errors.Is(err, io.EOF) && len(text) > 0:
		return nil, v.fault(Truncated, "the file ends within a line")
	}
	return bytes.TrimSuffix(text, []byte("\n")), err
}

func (v *verifier) open(text string) (Head, error) {
	open := v.Open
	if open == nil {
		open = ReadHead
	}
	h, err := open(text)
	if err != nil {
		err = v.fault(Unsigned, err.Error())
	}
	return h, err
}

func (v *verifier) run() error {
	if err := v.start(); err != nil {
		return err
	}
	for {
		text, err := v.next()
		if errors.Is(err, io.EOF) {
			return v.fault(Truncated, "the file ends without a head")
		}
		if err != nil {
			return err
		}
		var l Line
		if strict(text, &l) != nil || l.Entry == nil {
			return v.end(text)
		}
		if err := v.entry(l); err != nil {
			return err
		}
	}
}

// start reads the first line, and what is known of the chain.
func (v *verifier) start() error {
	text, err := v.next()
	if errors.Is(err, io.EOF) {
		return v.fault(Malformed, "the file is empty")
	}
	if err != nil {
		return err
	}
	var s Start
	if err := strict(text, &s); err != nil || s.Audit == 0 {
		return v.fault(Malformed, "it is not the first line of an export of the audit log")
	}
	if s.Audit != Version {
		return v.fault(Malformed, fmt.Sprintf("the export has version %d, this program knows %d; use a newer one", s.Audit, Version))
	}
	v.report.Tenant, v.report.After = s.Tenant, s.After
	from := Genesis(s.Tenant)
	if s.After > 0 {
		h, err := v.open(s.Head)
		if err != nil {
			return err
		}
		if h.Tenant != s.Tenant || h.Seq != s.After || h.Hash != s.Hash {
			return v.fault(Forked, "the head of the first line is not of what the line says")
		}
		from = h
	} else if s.Hash != from.Hash {
		return v.fault(Forked, "the beginning is not that of the tenant's chain")
	}
	v.check = NewChecker(from)
	for _, h := range v.Heads {
		if f := v.check.Know(h); f != nil {
			return f
		}
	}
	return nil
}

func (v *verifier) entry(l Line) error {
	e, err := parse(l.Entry)
	if err != nil {
		return v.fault(Malformed, err.Error())
	}
	if f := v.check.add(e, sum("entry", l.Entry), l.Hash); f != nil {
		f.Line = v.n
		if f.Kind == Missing && v.comes(f.Seq) {
			f.Kind, f.Text = Reordered, "entries of before it come after it"
		}
		return f
	}
	if v.report.Entries++; v.Progress != nil && v.report.Entries%progressEvery == 0 {
		v.Progress(v.report.Entries)
	}
	return nil
}

// comes tells whether the entry that should have come, or another one of before seq, is in
// the rest.
func (v *verifier) comes(seq int64) bool {
	n := v.n
	defer func() { v.n = n }()
	for {
		text, err := v.next()
		if err != nil {
			return false
		}
		var l struct {
			Entry struct {
				Seq int64 `json:"seq"`
			} `json:"entry"`
		}
		if json.Unmarshal(text, &l) == nil && l.Entry.Seq > v.check.Head().Seq && l.Entry.Seq < seq {
			return true
		}
	}
}

// end reads the last line.
func (v *verifier) end(text []byte) error {
	var l last
	if err := strict(text, &l); err != nil || l.Head == "" {
		return v.fault(Malformed, "it is neither an entry nor a head")
	}
	h, err := v.open(l.Head)
	if err != nil {
		return err
	}
	if f := v.check.Know(h); f != nil {
		f.Line = v.n
		return f
	}
	if _, err := v.next(); !errors.Is(err, io.EOF) {
		return v.fault(Malformed, "there is something after the head")
	}
	if f := v.check.End(); f != nil {
		return f
	}
	return nil
}

// strict reads JSON without keys that are not known, and with nothing after it.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is something after it")
	}
	return nil
}
