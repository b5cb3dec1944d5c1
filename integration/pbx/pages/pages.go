// Package pages renders the administration pages of a PBX: HTML made on the server, in
// German, English and French, without a script and without a request to anywhere else.
//
//	err := pages.Render(w, pages.Page{Name: "ccc", Lang: "de", ..., Data: pages.CCC{...}})
//
// Texts are in lang/*.json, one file a language with the same keys; templates in html.
// What a page shows is one of the types named like it.
package pages

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
)

//go:embed html/*.html
var htmlFiles embed.FS

//go:embed lang/*.json
var langFiles embed.FS

// Style is the style sheet of all pages.
//
//go:embed style.css
var Style []byte

// Languages are those that there are pages in.
var Languages = []string{"de", "en", "fr"}

// Names are the pages.
var Names = []string{"login", "status", "ccc", "remote", "users", "switches", "settings", "reset", "message"}

// Policy is the Content-Security-Policy of all pages: they load their style sheet, send
// forms to where they come from, and nothing else.
const Policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Notice is a message above a page. The zero value is none.
type Notice struct {
	// Key of the text, and what is filled in.
	Key  string
	Args []any
	// Bad marks an error.
	Bad bool
}

// Page is one page for one reader.
type Page struct {
	// Name is one of [Names].
	Name string
	// Lang is one of [Languages].
	Lang string
	// Serial and System name the PBX.
	Serial, System string
	// User is who is signed in; empty: nobody, and there is no navigation.
	User string
	// Administrator shows what only the administrator may open.
	Administrator bool
	Notice        Notice
	// Refresh has the browser load RefreshTo, a path, after so many seconds; 0: it does
	// not.
	Refresh   int
	RefreshTo string
	// Data is the value of the type named like the page.
	Data any
}

// ErrUnknown: there is no such page or language.
var ErrUnknown = errors.New("no such page or language")

// Render writes the page.
func Render(w io.Writer, p Page) error {
	set, ok := sets[p.Lang]
	if !ok || set[p.Name] == nil {
		return fmt.Errorf("%w: %q in %q", ErrUnknown, p.Name, p.Lang)
	}
	var body bytes.Buffer
	if err := set[p.Name].ExecuteTemplate(&body, "layout", p); err != nil {
		return fmt.Errorf("page %s: %w", p.Name, err)
	}
	_, err := body.WriteTo(w)
	return err
}

// Text gives one text in a language.
func Text(lang, key string, args ...any) string {
	text, ok := texts[lang][key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// Match picks the first language of an Accept-Language header (RFC 9110 §12.5.4) that
// there are pages in; otherwise it gives fallback. Weights are not looked at: browsers
// send the best first.
func Match(accept, fallback string) string {
	for part := range strings.SplitSeq(accept, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		main, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if slices.Contains(Languages, main) {
			return main
		}
	}
	if slices.Contains(Languages, fallback) {
		return fallback
	}
	return Languages[0]
}

// texts and sets are made once: they are as fixed as the code.
var (
	texts = readTexts()
	sets  = parse()
)

func readTexts() map[string]map[string]string {
	all := make(map[string]map[string]string)
	for _, lang := range Languages {
		data, err := langFiles.ReadFile("lang/" + lang + ".json")
		if err != nil {
			panic(err) // embedded
		}
		var t map[string]string
		if err := json.Unmarshal(data, &t); err != nil {
			panic(fmt.Sprintf("lang/%s.json: %v", lang, err)) // embedded
		}
		all[lang] = t
	}
	return all
}

// parse makes the templates of each language and page.
func parse() map[string]map[string]*template.Template {
	all := make(map[string]map[string]*template.Template)
	for _, lang := range Languages {
		all[lang] = make(map[string]*template.Template)
		for _, name := range Names {
			all[lang][name] = template.Must(template.New(name).Funcs(funcs(lang)).
				ParseFS(htmlFiles, "html/layout.html", "html/"+name+".html"))
		}
	}
	return all
}

func funcs(lang string) template.FuncMap {
	return template.FuncMap{
		"t":         func(key string, args ...any) string { return Text(lang, key, args...) },
		"notice":    func(n Notice) string { return Text(lang, n.Key, n.Args...) },
		"clock":     func(t time.Time) string { return clock(lang, t) },
		"machine":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"span":      func(d time.Duration) string { return span(lang, d) },
		"count":     func(n int64) string { return size(lang, uint64(max(n, 0))) },
		"seconds":   func(s uint64) time.Duration { return time.Duration(min(s, 1<<33)) * time.Second },
		"number":    func(v float64) string { return number(lang, fmt.Sprintf("%.2f", v)) },
		"percent":   func(p float64) string { return fmt.Sprintf("%.0f %%", p) },
		"bytes":     func(n uint64) string { return size(lang, n) },
		"languages": func() []string { return Languages },
		"langname":  func(l string) string { return texts[l]["language.name"] },
		"spoken":    spoken,
		"shown":     func(key, value string) string { return shown(lang, key, value) },
		"join":      func(list []string) string { return strings.Join(list, ", ") },
	}
}

// clock shows a time in the PBX's zone, with its name.
func clock(lang string, t time.Time) string {
	layout := map[string]string{"de": "02.01.2006, 15:04 MST", "en": "2 Jan 2006, 15:04 MST", "fr": "02/01/2006 15:04 MST"}[lang]
	return t.Local().Format(layout)
}

// span shows a duration to the minute.
func span(lang string, d time.Duration) string {
	minutes := int(max(d, 0) / time.Minute)
	days, hours, minutes := minutes/(24*60), minutes/60%24, minutes%60
	switch {
	case days > 0:
		return Text(lang, "span.days", days, hours)
	case hours > 0:
		return Text(lang, "span.hours", hours, minutes)
	default:
		return Text(lang, "span.minutes", minutes)
	}
}

// size shows bytes in binary units.
func size(lang string, n uint64) string {
	v, unit := float64(n), 0
	for v >= 1024 && unit < 4 {
		v /= 1024
		unit++
	}
	return number(lang, fmt.Sprintf("%.1f %s", v, []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]))
}

// shown is the value of a setting for people.
func shown(lang, key, value string) string {
	switch f, ok := settings.Of(key); {
	case ok && f.Type == settings.Boolean:
		return Text(lang, "value."+value)
	case value == "":
		return "–"
	default:
		return value
	}
}

// number puts the language's decimal sign into a text with one number.
func number(lang, text string) string {
	if lang == "en" {
		return text
	}
	return strings.Replace(text, ".", ",", 1)
}

// spoken puts spaces between digits, so that a screen reader reads them one by one.
func spoken(code string) string {
	return strings.Join(strings.Split(strings.ReplaceAll(code, " ", ""), ""), " ")
}
