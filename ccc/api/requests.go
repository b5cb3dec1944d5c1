package api

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// The bodies and parameters of requests. Tags are the bounds that are checked before a
// handler runs, and that the OpenAPI document shows.

// Credentials are for signing in.
type Credentials struct {
	Email    string `json:"email" minLength:"3" maxLength:"254"`
	Password string `json:"password" minLength:"1" maxLength:"256"`
}

// LanguageChange sets the person's language.
type LanguageChange struct {
	Language store.Language `json:"language" enum:"de,en,fr"`
}

// PasswordChange sets the person's password.
type PasswordChange struct {
	Current string `json:"current" minLength:"1" maxLength:"256"`
	New     string `json:"new" minLength:"12" maxLength:"128"`
}

// NewSystem saves a serial.
type NewSystem struct {
	Serial string   `json:"serial" pattern:"^[0-9]{10}$" patternDescription:"a serial: ten digits" example:"0123456789"`
	Name   string   `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Note   string   `json:"note,omitempty" maxLength:"2000" pattern:"^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]*$" patternDescription:"text without control characters"`
	Tags   []string `json:"tags,omitempty" nullable:"false" maxItems:"20" uniqueItems:"true" minLength:"1" maxLength:"40" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Groups []string `json:"groups,omitempty" nullable:"false" maxItems:"20" uniqueItems:"true" maxLength:"64" doc:"Ids of groups"`
}

// SystemChange changes what is given and leaves the rest.
type SystemChange struct {
	Name   *string   `json:"name,omitempty" nullable:"false" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Note   *string   `json:"note,omitempty" nullable:"false" maxLength:"2000" pattern:"^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]*$" patternDescription:"text without control characters"`
	Tags   *[]string `json:"tags,omitempty" nullable:"false" maxItems:"20" uniqueItems:"true" minLength:"1" maxLength:"40" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Groups *[]string `json:"groups,omitempty" nullable:"false" maxItems:"20" uniqueItems:"true" maxLength:"64" doc:"Ids of groups"`
	SiteID *string   `json:"site_id,omitempty" nullable:"false" maxLength:"64" doc:"Id of a site, or empty for none. Only for who may change all of the tenant, as rights follow the site"`
}

// Replacement is the PBX that takes a system's place.
type Replacement struct {
	Serial string `json:"serial" pattern:"^[0-9]{10}$" patternDescription:"a serial: ten digits" example:"0123456789"`
	Name   string `json:"name,omitempty" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank" doc:"Default: that of the replaced one"`
}

// NewGroup makes a group.
type NewGroup struct {
	Name string `json:"name" minLength:"1" maxLength:"60" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
}

// The parts of parameters are exported, as huma sees exported ones only.

type nothing struct{}

// SystemPath is the system in an address.
type SystemPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the system"`
}

// Page is which part of a list is wanted.
type Page struct {
	Cursor string `query:"cursor" maxLength:"8192" doc:"Of the page, from next of the one before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Items on the page"`
}

// SystemQuery is which systems are wanted.
type SystemQuery struct {
	Page
	Query         string        `query:"q" maxLength:"100" doc:"Text in serial, name, note, tags or the name of the site"`
	State         []store.State `query:"state,explode" nullable:"false" maxItems:"8" enum:"offered,received,proving,paired,left,expired,declined,error" doc:"Any of these"`
	Online        string        `query:"online" enum:"true,false" doc:"Only what is, or is not, online"`
	OfflineReason string        `query:"offline_reason" enum:"relay_drain,relay_lost,lost,network,power,restart,shutdown,certificate_expired,certificate_blocked,replaced,clone,idle_timeout,protocol,operator,unknown" doc:"Only what is offline for that"`
	Tag           []string      `query:"tag,explode" nullable:"false" maxItems:"20" maxLength:"40" doc:"All of these"`
	Group         string        `query:"group" maxLength:"64" doc:"Id of a group"`
	Site          string        `query:"site" maxLength:"64" doc:"Id of a site"`
	Maintenance   string        `query:"maintenance" enum:"paid,over" doc:"Only what has its maintenance paid, or has not"`
	Sort          string        `query:"sort" enum:"name,-name,serial,-serial,state,-state,state_since,-state_since,created_at,-created_at,last_seen_at,-last_seen_at" default:"name" doc:"With a dash: descending"`
}

// Resolve finds fault with texts that nothing which is kept can have. Huma calls it.
func (q *SystemQuery) Resolve(huma.Context) (all []error) {
	check := func(at, text string) {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			all = append(all, &huma.ErrorDetail{Location: at, Message: "is not UTF-8 without NUL"})
		}
	}
	check("query.q", q.Query)
	for i, tag := range q.Tag {
		check(fmt.Sprintf("query.tag[%d]", i), tag)
	}
	return all
}

// Idempotency lets a client repeat a request whose answer was lost.
type Idempotency struct {
	IdempotencyKey string `header:"Idempotency-Key" minLength:"8" maxLength:"128" pattern:"^[!-~]+$" patternDescription:"printable ASCII" doc:"Chosen by the client; the same request with the same key is done once"`
}

// IfMatch keeps two people from overwriting each other's changes.
type IfMatch struct {
	Version string `header:"If-Match" maxLength:"64" doc:"ETag of the system as the client knows it"`
}

// The outputs with headers of their own.

type systemOutput struct {
	ETag string `header:"ETag"`
	Body System
}

// created is the answer of an operation that makes something.
type created[T any] struct {
	Location string `header:"Location" doc:"Of what was made, where it has an address"`
	Replayed string `header:"Idempotency-Replayed" doc:"true: it was made before, and this is the answer of then"`
	Body     T
}

type body[T any] struct{ Body T }
