package mail

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	html "html/template"
	"strings"
	text "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Kind is what a mail tells.
type Kind string

// The kinds.
const (
	Invitation      Kind = "invitation"       // Tenant, By, Link, Hours
	InvitationTaken Kind = "invitation_taken" // Tenant: the address has an account elsewhere
	PasswordReset   Kind = "password_reset"   // Link, Minutes
	PasswordElse    Kind = "password_else"    // Provider: it has the password
	PasswordChanged Kind = "password_changed" // Link
	ProviderLinked  Kind = "provider_linked"  // Provider, Link: the account signs in there from now on
)

// priority: an invitation can wait for what somebody at a sign-in waits for.
func (k Kind) priority() store.MailPriority {
	if k == Invitation || k == InvitationTaken {
		return store.MailOrdinary
	}
	return store.MailUrgent
}

// kinds are all of them.
func kinds() []Kind {
	return []Kind{Invitation, InvitationTaken, PasswordReset, PasswordElse, PasswordChanged, ProviderLinked}
}

// Brand is whose mail it is.
type Brand struct {
	Name  string `json:"name"`
	Legal string `json:"legal"` // who is responsible
}

// Message is a mail before it has its words.
type Message struct {
	Kind     Kind           `json:"kind"`
	To       string         `json:"to"` // an address
	Language store.Language `json:"language"`
	Brand    Brand          `json:"brand"`
	// Of is the tenant among whose mails it counts.
	Of store.TenantID `json:"-"`
	// Name is what the person is called; empty: it is not known.
	Name string `json:"name,omitempty"`
	// Tenant, By and Provider are names; see the kinds.
	Tenant   string `json:"tenant,omitempty"`
	By       string `json:"by,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Link is the address of a page of the control centre.
	Link string `json:"link,omitempty"`
	// Life is how long the link is good.
	Life time.Duration `json:"life,omitempty"`
}

// Hours is Life in hours, at least one.
func (m Message) Hours() int { return max(1, int(m.Life.Round(time.Hour)/time.Hour)) }

// Minutes is Life in minutes, at least one.
func (m Message) Minutes() int { return max(1, int(m.Life.Round(time.Minute)/time.Minute)) }

// words are the texts of a kind of mail in one language.
type words struct {
	Subject string   `json:"subject"`
	Lines   []string `json:"lines"`
	Button  string   `json:"button"`
	After   []string `json:"after"`
}

//go:embed texts
var texts embed.FS

// wordsOf reads the texts of a language.
func wordsOf(language store.Language) (map[Kind]words, error) {
	data, err := texts.ReadFile("texts/" + string(language) + ".json")
	if err != nil {
		return nil, err
	}
	var all map[Kind]words
	return all, json.Unmarshal(data, &all)
}

// written is a mail in words.
type written struct{ subject, plain, html string }

// page is what the layout is filled with.
type page struct {
	Language       store.Language
	Subject        string
	Lines, After   []string
	Button, Link   string
	Brand, Signing string
}

// write gives a mail its words.
func (m Message) write() (written, error) {
	all, err := wordsOf(m.Language)
	if err != nil {
		return written{}, fmt.Errorf("texts of mails: %w", err)
	}
	w, known := all[m.Kind]
	if !known {
		return written{}, fmt.Errorf("there is no mail %q in %s", m.Kind, m.Language)
	}
	m.Name, m.Tenant, m.By, m.Provider = harmless(m.Name), harmless(m.Tenant), harmless(m.By), harmless(m.Provider)
	m.Brand.Name, m.Brand.Legal = oneLine(m.Brand.Name), oneLine(m.Brand.Legal)
	fill := func(t string) string {
		var b strings.Builder
		if parsed, bad := text.New("").Option("missingkey=error").Parse(t); bad != nil {
			err = bad
		} else if bad := parsed.Execute(&b, m); bad != nil {
			err = bad
		}
		return b.String()
	}
	p := page{Language: m.Language, Subject: fill(w.Subject), Button: fill(w.Button), Link: m.Link, Brand: m.Brand.Name, Signing: m.Brand.Legal}
	for _, l := range w.Lines {
		p.Lines = append(p.Lines, fill(l))
	}
	for _, l := range w.After {
		p.After = append(p.After, fill(l))
	}
	if err != nil {
		return written{}, err
	}
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		return written{}, err
	}
	return written{oneLine(p.Subject), p.plain(), b.String()}, nil
}

// layout is the HTML of all mails.
var layout = html.Must(html.ParseFS(texts, "texts/layout.html"))

// plain is the same as text.
func (p page) plain() string {
	parts := append([]string{}, p.Lines...)
	if p.Button != "" {
		parts = append(parts, p.Button+":\n"+p.Link)
	}
	parts = append(append(parts, p.After...), "-- \n"+p.Brand+" Control Center\n"+p.Signing)
	return strings.Join(parts, "\n\n") + "\n"
}

// maxName is how many characters of a name are shown.
const maxName = 100

// oneLine gives a text without what is not to be in a header: control characters.
func oneLine(t string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', unicode.Is(unicode.Bidi_Control, r):
			return ' '
		}
		return r
	}, t))
}

// harmless gives a name that somebody chose as it can stand in a mail of ours. Programs
// that show mails make links of what looks like an address: a word joiner, which is not
// seen, keeps them from it.
func harmless(name string) string {
	name = strings.Join(strings.Fields(oneLine(name)), " ")
	if runes := []rune(name); len(runes) > maxName {
		name = string(runes[:maxName]) + "…"
	}
	return strings.NewReplacer(".", ".\u2060", "@", "@\u2060", "/", "/\u2060", ":", ":\u2060").Replace(name)
}

// hostOf gives the host of an address.
func hostOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }
