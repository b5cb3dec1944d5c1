package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

const csvType = "Content-Type: text/csv; charset=utf-8"

// sendList sends a list and gives what became of it.
func (c *client) sendList(query, list string, headers ...string) ImportReport {
	c.w.t.Helper()
	return read[ImportReport](c.do(http.MethodPost, "/onboarding"+query, list, append(headers, csvType)...).want(http.StatusOK))
}

// outcomes gives each line as "2 created" or "3 invalid serial:pattern".
func (r ImportReport) outcomes() (all []string) {
	for _, l := range r.Lines {
		if l.Errors == nil {
			all = append(all, "null in place of errors")
		}
		text := fmt.Sprint(l.Line, " ", l.Outcome)
		for _, e := range l.Errors {
			text += " " + e.Column + ":" + string(e.Code)
			if e.OtherLine > 0 {
				text += fmt.Sprint("@", e.OtherLine)
			}
		}
		if len(l.Differs) > 0 {
			text += " " + strings.Join(l.Differs, "+")
		}
		all = append(all, text)
	}
	return all
}

func (w *world) sameOutcomes(what string, r ImportReport, want ...string) {
	w.t.Helper()
	if got := r.outcomes(); !slices.Equal(got, want) {
		w.t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func (c *client) total() int {
	c.w.t.Helper()
	return read[SystemList](c.do(http.MethodGet, "/systems", "").want(http.StatusOK)).Total
}

// TestImport: each line gets its answer; the same list again changes nothing, and makes no
// other offer.
func TestImport(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleAdministrator)
		w.signedIn(w.south, store.RoleOwner).save("0000000004", "Of another tenant, which nobody learns")
		c.save("0000000001", "One")
		site := read[Site](c.do(http.MethodPost, "/sites", `{"name":"Köln"}`).want(http.StatusCreated)).ID
		list := "\ufeffStandort;Seriennummer;Bezeichnung;Schlagwörter;Farbe\r\n" +
			"köln;00000-00002;Zwei;a|b;rot\r\n" +
			";12;Zwölf\r\n" +
			";0000000001;Eins\r\n" +
			"Berlin;0000000003;Drei\r\n" +
			";0000000004;Vier\r\n" +
			";0000000002;Zwei noch einmal\r\n"
		first := []string{"2 created", "3 invalid serial:pattern", "4 exists name", "5 refused site:reference", "6 created", "7 invalid serial:duplicate@2"}
		again := []string{"2 exists", "3 invalid serial:pattern", "4 exists name", "5 refused site:reference", "6 exists", "7 invalid serial:duplicate@2"}

		dry := c.sendList("?dry_run=true", list)
		w.sameOutcomes("the dry run", dry, first...)
		if c.total() != 1 || dry.Lines[0].SystemID != "" || !dry.Summary.DryRun {
			t.Errorf("the dry run did something: %+v", dry)
		}
		done := c.sendList("", list)
		w.sameOutcomes("the list", done, first...)
		want := ImportSummary{
			Lines: 6, Created: 2, Exists: 1, Invalid: 2, Refused: 1, Columns: []string{"site", "serial", "name", "tags"},
			Ignored: []string{"Farbe"}, NewSites: []string{}, NewGroups: []string{},
		}
		if fmt.Sprint(done.Summary) != fmt.Sprint(want) {
			t.Errorf("in all: %+v", done.Summary)
		}
		two := read[System](c.do(http.MethodGet, "/systems/"+done.Lines[0].SystemID, "").want(http.StatusOK))
		if two.SiteID != site || two.Name != "Zwei" || !slices.Equal(two.Tags, []string{"a", "b"}) || two.State != store.StateOffered {
			t.Errorf("added: %+v", two)
		}
		token := read[Offer](c.do(http.MethodGet, "/systems/"+two.ID+"/offer", "").want(http.StatusOK)).Token
		w.sameOutcomes("again", c.sendList("?missing=refuse", list), again...)
		if c.total() != 3 {
			t.Errorf("%d systems", c.total())
		}
		if o := read[Offer](c.do(http.MethodGet, "/systems/"+two.ID+"/offer", "")); o.Token != token {
			t.Error("there is another token")
		}
		if s := read[System](c.do(http.MethodGet, "/systems/"+two.ID, "")); s.Version != two.Version {
			t.Error("the system has changed")
		}
		// Who finishes what was cut off sends the same list.
		w.sameOutcomes("the rest of the list", c.sendList("", list+";0000000005;Fünf\r\n"), append(slices.Clone(again), "8 created")...)
	})
}

// Sites and groups that are not there are made, for who may, once whatever their capitals.
func TestImportMakesPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleAdministrator)
	const list = "serial,name,site,groups\n0000000001,One,Berlin,A|B\n0000000002,Two,BERLIN,a\n0000000003,Three,,\"B, C\"\nx,Wrong,Nowhere,D\n"
	w.sameOutcomes("refused", c.sendList("", list), "2 refused site:reference groups:reference", "3 refused site:reference groups:reference", "4 refused groups:reference", "5 invalid serial:pattern")
	if dry := c.sendList("?missing=create&dry_run=true", list).Summary; fmt.Sprint(dry.NewSites, dry.NewGroups) != "[Berlin] [A B C]" {
		t.Errorf("would be made: %v %v", dry.NewSites, dry.NewGroups)
	}
	made := c.sendList("?missing=create", list)
	w.sameOutcomes("made", made, "2 created", "3 created", "4 created", "5 invalid serial:pattern")
	if sites := read[SiteList](c.do(http.MethodGet, "/sites", "")).Items; len(sites) != 1 || sites[0].Name != "Berlin" {
		t.Errorf("sites: %+v", sites)
	}
	two := read[System](c.do(http.MethodGet, "/systems/"+made.Lines[1].SystemID, ""))
	if two.SiteID == "" || len(two.Groups) != 1 || two.Groups[0].Name != "A" {
		t.Errorf("the second: %+v", two)
	}
	w.sameOutcomes("again", c.sendList("?missing=create", list), "2 exists", "3 exists", "4 exists", "5 invalid serial:pattern")
}

// TestImportBySite: who may pair at a site only adds there, makes no sites, and learns
// nothing about the rest of the tenant.
func TestImportBySite(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		owner, local := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, "")
		site := read[Site](owner.do(http.MethodPost, "/sites", `{"name":"Berlin"}`).want(http.StatusCreated)).ID
		owner.do(http.MethodPost, "/sites", `{"name":"Bonn"}`).want(http.StatusCreated)
		owner.save("0000000009", "CANARY")
		const list = "serial,name,site\n0000000001,One,Berlin\n0000000002,Two,Bonn\n0000000003,Three,\n0000000004,Four,Bremen\n0000000009,Nine,Berlin\n"
		local.do(http.MethodPost, "/onboarding", list, csvType).problem(CodeForbidden)
		owner.do(http.MethodPut, "/users/"+string(local.user.ID)+"/roles", `{"roles":[{"role":"administrator","site_id":"`+site+`"}]}`).want(http.StatusOK)
		want := []string{"2 created", "3 refused site:forbidden", "4 refused site:forbidden", "5 refused site:forbidden", "6 refused serial:forbidden"}
		for _, query := range []string{"?missing=create&dry_run=true", "?missing=create"} {
			r := local.sendList(query, list)
			w.sameOutcomes(query, r, want...)
			if text, _ := json.Marshal(r); strings.Contains(string(text), "CANARY") || r.Lines[4].SystemID != "" {
				t.Errorf("the list shows %s", text)
			}
		}
		if n := local.total(); n != 1 {
			t.Errorf("at the site are %d", n)
		}
		w.sameOutcomes("the owner", owner.sendList("?missing=create", list), "2 exists", "3 created", "4 created", "5 created", "6 exists name+site")
		w.signedIn(w.north, store.RoleMonitoring).do(http.MethodPost, "/onboarding", list, csvType).problem(CodeForbidden)
		reseller := w.kind(store.KindReseller, "")
		guest := w.signedIn(reseller, store.RoleAdministrator)
		w.grant(w.north, reseller, nil, store.RoleAdministrator)
		w.sameOutcomes("a guest", guest.sendList("", "serial,name\n0000000020,Guest's\n", inside(w.north)), "2 created")
	})
}

func TestImportIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) {
		o.limits.ImportsPerDay, o.limits.OffersPerHour = 2, 1
		o.api.Limits.ImportLines, o.api.Limits.ImportBody = 3, 100<<10
	}).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	const list = "serial,name\n0000000001,1\n0000000002,2\n0000000003,3\n"
	want := []string{"2 created", "3 created", "4 refused :quota"}
	w.sameOutcomes("more than may be, dry", c.sendList("?dry_run=true", list), want...)
	w.sameOutcomes("more than may be", c.sendList("", list), want...)
	w.sameOutcomes("again", c.sendList("", list), "2 exists", "3 exists", "4 refused :quota")
	c.save("0000000003", "One by one there is another quota")
	fault := func(list string, code FieldCode) {
		t.Helper()
		p := c.do(http.MethodPost, "/onboarding", list, csvType).problem(CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Location != "body" || p.Errors[0].Code != code {
			t.Errorf("%.40q: %+v", list, p)
		}
	}
	fault(list+"0000000004,4\n", FieldTooMany)
	fault("name\nx\n", FieldRequired)
	fault("serial,name,serial\n", FieldDuplicate)
	large := "serial,name,note\n0000000005,5," + strings.Repeat("x", 90<<10) + "\n"
	w.sameOutcomes("a body that is larger than others may be", c.sendList("", large), "2 invalid note:too_long")
	c.do(http.MethodPost, "/onboarding", large+large, csvType).problem(CodeTooLarge)
	c.do(http.MethodPost, "/groups", `{"name":"`+strings.Repeat("x", 90<<10)+`"}`).problem(CodeTooLarge) // others stay
	for _, kind := range []string{"application/json", "text/csv; charset=latin1", "text/plain"} {
		c.do(http.MethodPost, "/onboarding", list, "Content-Type: "+kind).problem(CodeMediaType)
	}
}

// manySystems is a list with n lines.
func manySystems(n int) string {
	var b strings.Builder
	b.WriteString("serial,name,note,groups,tags,site\n")
	for i := range n {
		fmt.Fprintf(&b, "%010d,PBX %d,\"Rack %d, 2nd floor\",Group %d,new|tag %d,Site %d\n", 7_000_000_000+i, i, i%9, i%3, i%5, i%10)
	}
	return b.String()
}

// TestImportOf500 comes bit by bit, and is done in good time.
func TestImportOf500(t *testing.T) {
	t.Parallel()
	const lines = 500
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		send := func() (events []ImportEvent, took time.Duration) {
			t.Helper()
			began := time.Now()
			a := c.do(http.MethodPost, "/onboarding?missing=create", manySystems(lines), csvType, "Accept: application/x-ndjson").want(http.StatusOK)
			if a.header.Get("Content-Type") != ndjson {
				t.Errorf("type %s", a.header.Get("Content-Type"))
			}
			for d := json.NewDecoder(bytes.NewReader(a.body)); ; {
				var e ImportEvent
				err := d.Decode(&e)
				if err == io.EOF {
					return events, time.Since(began)
				}
				w.must(err)
				events = append(events, e)
			}
		}
		for _, want := range []string{"created", "exists"} {
			events, took := send()
			if len(events) != lines+2 || *events[0].Total != lines || events[lines+1].Summary == nil {
				t.Fatalf("%d events, the last %+v", len(events), events[len(events)-1])
			}
			for i, e := range events[1 : lines+1] {
				if e.Line == nil || e.Line.Line != i+2 || string(e.Line.Outcome) != want || e.Line.SystemID == "" {
					t.Fatalf("event %d: %+v", i, e.Line)
				}
			}
			sum := events[lines+1].Summary
			if n := map[string]int{"created": sum.Created, "exists": sum.Exists}[want]; n != lines || sum.Lines != lines {
				t.Errorf("in all: %+v", sum)
			}
			t.Logf("%d lines %s in %s", lines, want, took.Round(time.Millisecond))
		}
		if c.total() != lines {
			t.Errorf("%d systems", c.total())
		}
	})
}

// TestSheet: the tokens of the person's own offers, and nobody else's.
func TestSheet(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c, colleague := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleOwner)
		own := c.sendList("?missing=create", "serial,name,site\n0000000001,One,Köln\n0000000002,Two,\n")
		theirs := colleague.save("0000000003", "Three")
		foreign := w.signedIn(w.south, store.RoleOwner).save("0000000004", "CANARY")
		ids := []string{own.Lines[1].SystemID, own.Lines[0].SystemID, theirs.System.ID, foreign.System.ID, "missing"}
		text, _ := json.Marshal(SheetRequest{SystemIDs: ids, Language: "fr", TimeZone: "Europe/Berlin"})
		offer := read[Offer](c.do(http.MethodGet, "/systems/"+ids[0]+"/offer", "").want(http.StatusOK))
		if offer.SheetAt != nil {
			t.Errorf("before: %v", offer.SheetAt)
		}
		a := c.do(http.MethodPost, "/onboarding/sheet", string(text)).want(http.StatusOK)
		sheet := read[Sheet](a)
		if len(sheet.Items) != 2 || sheet.Items[0].Name != "Two" || sheet.Items[1].Site != "Köln" || sheet.Items[0].Offer.Token != offer.Token || sheet.Items[0].Offer.QR != offer.QR || sheet.Tenant != "North GmbH" {
			t.Errorf("%+v", sheet)
		}
		if want := []SheetAbsent{{theirs.System.ID, "no_offer"}, {foreign.System.ID, "not_found"}, {"missing", "not_found"}}; !slices.Equal(sheet.LeftOut, want) || strings.Contains(string(a.body), "CANARY") {
			t.Errorf("left out: %+v", sheet.LeftOut)
		}
		if o := read[Offer](c.do(http.MethodGet, "/systems/"+ids[0]+"/offer", "")); o.SheetAt == nil || time.Since(*o.SheetAt) > time.Minute {
			t.Errorf("after: %v", o.SheetAt)
		}
		pdf := c.do(http.MethodPost, "/onboarding/sheet.pdf", string(text)).want(http.StatusOK)
		if !bytes.HasPrefix(pdf.body, []byte("%PDF-")) || pdf.header.Get("Content-Type") != "application/pdf" || pdf.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v %.20s", pdf.header, pdf.body)
		}
		colleague.do(http.MethodPost, "/onboarding/sheet.pdf", `{"system_ids":["`+ids[0]+`"]}`).problem(CodeInvalid)
		c.do(http.MethodPost, "/onboarding/sheet.pdf", `{"system_ids":["`+ids[0]+`"],"time_zone":"Mars/North"}`).problem(CodeInvalid)
		c.do(http.MethodPost, "/onboarding/sheet", `{"system_ids":[]}`).problem(CodeInvalid)
		w.signedIn(w.north, store.RoleMonitoring).do(http.MethodPost, "/onboarding/sheet", string(text)).problem(CodeForbidden)
	})
}
