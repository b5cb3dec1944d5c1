package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/onboarding"
)

// ImportOutcome says what became of a line.
type ImportOutcome string

// The outcomes.
const (
	ImportCreated ImportOutcome = "created"
	ImportExists  ImportOutcome = "exists"
	ImportInvalid ImportOutcome = "invalid"
	ImportRefused ImportOutcome = "refused"
)

// The codes of lines that are refused; those of invalid ones are of ccc/onboarding.
const (
	importReference onboarding.Code = "reference"
	importForbidden onboarding.Code = "forbidden"
	importQuota     onboarding.Code = "quota"
)

// ImportError is one fault of a line. It does not repeat what is there.
type ImportError struct {
	Column    string          `json:"column,omitempty" enum:"serial,name,note,site,groups,tags" doc:"Absent where it is the line as a whole"`
	Code      onboarding.Code `json:"code" enum:"required,pattern,too_long,too_many,duplicate,encoding,quotes,columns,reference,forbidden,quota" doc:"reference: there is no such site or group; forbidden: it takes rights that the person does not have; quota: no more today; quotes: a quotation mark is not closed, or is in the middle of a field; columns: the line has more fields than the first one"`
	Message   string          `json:"message" doc:"For developers, in English"`
	OtherLine int             `json:"other_line,omitempty" doc:"With duplicate: the line that counts"`
}

// ImportLine is what became of a line.
type ImportLine struct {
	Line     int           `json:"line" doc:"Its number in the file, from 1; of the first of them where a field has line breaks"`
	Serial   string        `json:"serial" doc:"As ten digits; empty where it is none"`
	Name     string        `json:"name"`
	Outcome  ImportOutcome `json:"outcome" enum:"created,exists,invalid,refused" doc:"created: the system is saved and an offer made, or with dry_run would be; exists: the tenant has it, nothing was changed; invalid: the line is wrong; refused: the line is right and still not taken"`
	SystemID string        `json:"system_id,omitempty" doc:"Of the system that was created, or is there"`
	Differs  []string      `json:"differs,omitempty" nullable:"false" doc:"With exists: the columns in which the list says something else than what is there"`
	Errors   []ImportError `json:"errors" nullable:"false"`
}

// ImportSummary is what became of a list.
type ImportSummary struct {
	DryRun    bool     `json:"dry_run"`
	Lines     int      `json:"lines"`
	Created   int      `json:"created"`
	Exists    int      `json:"exists"`
	Invalid   int      `json:"invalid"`
	Refused   int      `json:"refused"`
	Columns   []string `json:"columns" nullable:"false" doc:"That the list has, in its order"`
	Ignored   []string `json:"ignored" nullable:"false" doc:"Headings of columns that are none of these, and left out"`
	NewSites  []string `json:"new_sites" nullable:"false" doc:"That were made for the list, or would be"`
	NewGroups []string `json:"new_groups" nullable:"false"`
}

// ImportReport is what became of a list, and of each of its lines in order.
type ImportReport struct {
	Summary ImportSummary `json:"summary"`
	Lines   []ImportLine  `json:"lines" nullable:"false"`
}

// ImportEvent is one line of an answer that comes bit by bit: one with total, then one for
// each line of the list, and in the end one with summary or, where not all of it could be
// done, problem.
type ImportEvent struct {
	Total   *int           `json:"total,omitempty" doc:"How many lines the list has"`
	Line    *ImportLine    `json:"line,omitempty"`
	Summary *ImportSummary `json:"summary,omitempty"`
	Problem *Problem       `json:"problem,omitempty" doc:"The same list can be sent again"`
}

// ndjson is the media type of these.
const ndjson = "application/x-ndjson"

type importInput struct {
	DryRun  bool   `query:"dry_run" doc:"true: nothing is done, and the answer says what would be"`
	Missing string `query:"missing" enum:"refuse,create" default:"refuse" doc:"What becomes of lines with a site or a group that is not there. create: it is made, for who may"`
	Accept  string `header:"Accept" maxLength:"1000" doc:"application/x-ndjson: bit by bit, see ImportEvent"`
	Type    string `header:"Content-Type" maxLength:"200" doc:"text/csv, in UTF-8"`
	RawBody []byte `contentType:"text/csv"`
}

// SheetRequest says for which systems a sheet is wanted.
type SheetRequest struct {
	SystemIDs []string `json:"system_ids" nullable:"false" minItems:"1" maxItems:"500" uniqueItems:"true" maxLength:"64"`
	Language  string   `json:"language,omitempty" enum:"de,en,fr" doc:"Default: the person's"`
	TimeZone  string   `json:"time_zone,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9_+/-]*$" example:"Europe/Berlin" doc:"In which times are printed (IANA). Default: UTC"`
}

// Sheet is the open offers of some systems, to be printed.
type Sheet struct {
	Tenant  string        `json:"tenant" doc:"Legal name, as the PBXs show it"`
	Items   []SheetItem   `json:"items" nullable:"false" doc:"In the order of the request"`
	LeftOut []SheetAbsent `json:"left_out" nullable:"false"`
}

// SheetItem is one offer on a sheet.
type SheetItem struct {
	SystemID string `json:"system_id"`
	Serial   string `json:"serial"`
	Name     string `json:"name"`
	Site     string `json:"site,omitempty" doc:"Name of the site"`
	Offer    Offer  `json:"offer" doc:"sheet_at is when there was a sheet before this one"`
}

// SheetAbsent is a system that is not on a sheet.
type SheetAbsent struct {
	SystemID string `json:"system_id"`
	Code     string `json:"code" enum:"not_found,no_offer" doc:"no_offer: it has no open one that the person himself has made"`
}

type sheetInput struct{ Body SheetRequest }

func (a *API) registerOnboarding() {
	add(a, operation{
		id: "importSystems", method: http.MethodPost, path: "/onboarding", tag: tagOnboarding, rule: inParts(access.SystemPair), body: a.cfg.Limits.ImportBody,
		summary: "Add the systems of a list",
		description: "The list is CSV (RFC 4180) in UTF-8, divided at commas, semicolons or tabs. Its first line names the columns in English, German or French: " +
			"serial, name, note, site, groups, tags; serial and name are needed. Several groups or tags are divided at | or, where there is none, at commas. " +
			"A wrong line stops none of the others. The same list again changes nothing, and makes no other offer. " +
			"Who may pair at some sites only adds there. An offer is made for each new system; its token is on a sheet, see makeSheet.",
		codes: []Code{CodeMediaType},
	}, a.importSystems)
	schemas := a.huma.OpenAPI().Components.Schemas
	of := func(t reflect.Type) *huma.MediaType { return &huma.MediaType{Schema: schemas.Schema(t, true, "")} }
	a.huma.OpenAPI().Paths["/onboarding"].Post.Responses["200"] = &huma.Response{
		Description: "What became of each line",
		Content: map[string]*huma.MediaType{
			"application/json": of(reflect.TypeFor[ImportReport]()), ndjson: of(reflect.TypeFor[ImportEvent]()),
		},
	}
	const about = "Only for who made the offers, which may be done one by one or with a list. When it was is noted."
	add(a, operation{
		id: "makeSheet", method: http.MethodPost, path: "/onboarding/sheet", tag: tagOnboarding, rule: inParts(access.SystemPair),
		summary: "The tokens of some systems, to be printed", description: about,
	}, a.makeSheet)
	add(a, operation{
		id: "makeSheetPDF", method: http.MethodPost, path: "/onboarding/sheet.pdf", tag: tagOnboarding, rule: inParts(access.SystemPair),
		summary: "The same as a PDF", description: about + " Where none of the systems has a token for the person the answer is invalid.",
	}, a.makeSheetPDF)
	a.huma.OpenAPI().Paths["/onboarding/sheet.pdf"].Post.Responses["200"] = &huma.Response{
		Description: "A4, eight to a page",
		Content:     map[string]*huma.MediaType{"application/pdf": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
}
