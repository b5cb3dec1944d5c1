package sheet

import (
	"fmt"
	"image/color"
	"io"
	"strings"
	"time"

	"codeberg.org/go-fonts/liberation/liberationmonobold"
	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"codeberg.org/go-pdf/fpdf"
	"github.com/boombuler/barcode/qr"
)

// Sheet is what is printed.
type Sheet struct {
	// Tenant is the legal name of who wants to connect, as the PBX shows it.
	Tenant string
	// Language is de, en or fr; any other is taken for en.
	Language string
	// Zone is where the times are. Nil: UTC.
	Zone *time.Location
	// Made is when, for the document.
	Made  time.Time
	Cards []Card
}

// Card is for one PBX.
type Card struct {
	Name    string
	Serial  string
	Site    string // empty: none
	Token   string // as it is typed
	QR      string // text of the QR code
	Code    string // which the PBX shows, too
	Expires time.Time
}

// Sizes in millimetres.
const (
	pageWidth, pageHeight = 210.0, 297.0
	columns, rows         = 2, 4
	cardWidth, cardHeight = pageWidth / columns, pageHeight / rows
	margin                = 8.0 // printers leave 5 of a page empty
	qrSize                = 29.0
)

// The fonts.
const (
	sans = "sans"
	mono = "mono"
)

// Write writes the PDF.
func (s Sheet) Write(w io.Writer) error {
	t, ok := texts[s.Language]
	if !ok {
		t = texts["en"]
	}
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	p := fpdf.New("P", "mm", "A4", "")
	p.SetMargins(0, 0, 0)
	p.SetAutoPageBreak(false, 0)
	p.SetCreationDate(s.Made.UTC())
	p.SetModificationDate(s.Made.UTC())
	p.SetTitle(t.title, true)
	p.SetLang(s.Language)
	p.AddUTF8FontFromBytes(sans, "", liberationsansregular.TTF)
	p.AddUTF8FontFromBytes(sans, "B", liberationsansbold.TTF)
	p.AddUTF8FontFromBytes(mono, "", liberationmonobold.TTF)
	const each = columns * rows
	for i, c := range s.Cards {
		if i%each == 0 {
			p.AddPage()
			cutLines(p)
			footer(p, fmt.Sprintf(t.page, i/each+1, (len(s.Cards)+each-1)/each))
		}
		at := i % each
		if err := s.card(p, t, c, float64(at%columns)*cardWidth, float64(at/columns)*cardHeight); err != nil {
			return err
		}
	}
	return p.Output(w)
}

func cutLines(p *fpdf.Fpdf) {
	p.SetDrawColor(150, 150, 150)
	p.SetLineWidth(0.15)
	p.SetDashPattern([]float64{1.5, 1.5}, 0)
	for i := 1; i < columns; i++ {
		p.Line(float64(i)*cardWidth, 0, float64(i)*cardWidth, pageHeight)
	}
	for i := 1; i < rows; i++ {
		p.Line(0, float64(i)*cardHeight, pageWidth, float64(i)*cardHeight)
	}
	p.SetDashPattern(nil, 0)
}

func footer(p *fpdf.Fpdf, text string) {
	p.SetFont(sans, "", 6)
	p.SetTextColor(110, 110, 110)
	p.SetXY(pageWidth/2+margin, pageHeight-6)
	p.CellFormat(pageWidth/2-2*margin, 3, text, "", 0, "R", false, 0, "")
}

// card draws one at a place of the page.
func (s Sheet) card(p *fpdf.Fpdf, t text, c Card, x, y float64) error {
	left, top, width := x+margin, y+margin, cardWidth-2*margin
	narrow := width - qrSize - 3
	line := func(style string, size, height, wide float64, text string) {
		p.SetFont(sans, style, size)
		p.SetXY(left, top)
		p.CellFormat(wide, height, fitting(p, text, wide), "", 0, "L", false, 0, "")
		top += height
	}
	field := func(name, value string) {
		if value == "" {
			return
		}
		p.SetTextColor(90, 90, 90)
		p.SetFont(sans, "", 7)
		label := name + ": "
		wide := p.GetStringWidth(label)
		p.SetXY(left, top)
		p.CellFormat(wide, 3.8, label, "", 0, "L", false, 0, "")
		p.SetTextColor(0, 0, 0)
		p.SetFont(sans, "", 8)
		p.CellFormat(narrow-wide, 3.8, fitting(p, value, narrow-wide), "", 0, "L", false, 0, "")
		top += 3.8
	}
	p.SetCellMargin(0)
	p.SetTextColor(0, 0, 0)
	p.SetFont(sans, "B", 10)
	for i, part := range p.SplitText(fitting(p, c.Name, 2*narrow-4), narrow) {
		if i < 2 {
			line("B", 10, 4.5, narrow, part)
		}
	}
	field(t.serial, c.Serial)
	field(t.site, c.Site)
	field(t.company, s.Tenant)
	top = y + margin + 21
	p.SetTextColor(90, 90, 90)
	line("", 7, 3.5, narrow, t.token)
	p.SetTextColor(0, 0, 0)
	p.SetFont(mono, "", 16)
	p.SetXY(left, top)
	p.CellFormat(narrow, 6.5, c.Token, "", 0, "L", false, 0, "")
	top += 7
	field(t.code, c.Code)
	field(t.until, c.Expires.In(s.Zone).Format(t.noon+" MST"))
	if err := drawQR(p, c.QR, left+narrow+3, y+margin, qrSize); err != nil {
		return err
	}
	top = y + margin + 40.5
	p.SetFont(sans, "", 6.5)
	for _, step := range []string{t.todo, t.compare, t.enter} {
		p.SetXY(left, top)
		p.MultiCell(width, 2.9, step, "", "L", false)
		top = p.GetY() + 0.3
	}
	p.SetTextColor(90, 90, 90)
	line("", 6, 3, width, t.own)
	return nil
}

// fitting shortens a text to what is as wide.
func fitting(p *fpdf.Fpdf, text string, width float64) string {
	text = strings.Map(func(r rune) rune {
		if r > 0xffff { // the library knows none of these
			return '\u25a1'
		}
		return r
	}, text)
	if p.GetStringWidth(text) <= width {
		return text
	}
	all := []rune(text)
	for len(all) > 0 && p.GetStringWidth(string(all)+"…") > width {
		all = all[:len(all)-1]
	}
	return strings.TrimRight(string(all), " ") + "…"
}

// drawQR draws a code as squares, which stay sharp, with nothing around it: the card is
// white there.
func drawQR(p *fpdf.Fpdf, text string, x, y, size float64) error {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return fmt.Errorf("QR code: %w", err)
	}
	n := code.Bounds().Dx()
	module := size / float64(n)
	p.SetFillColor(0, 0, 0)
	for row := range n {
		for from := 0; from < n; from++ {
			to := from
			for to < n && code.At(to, row) == color.Black {
				to++
			}
			if to > from {
				// A little more than a module, so that no white line is between two of them.
				p.Rect(x+float64(from)*module, y+float64(row)*module, float64(to-from)*module+0.01, module+0.01, "F")
				from = to
			}
		}
	}
	return nil
}
