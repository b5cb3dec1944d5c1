package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/onboarding"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// importJob is a list on its way. It is owned by the request that it came with.
type importJob struct {
	api         *API
	who         actor
	dry, create bool
	list        onboarding.List
	lines       []ImportLine // one for each of the list's

	sites               places[store.SiteID]
	groups              places[store.GroupID]
	newSites, newGroups []string
}

// places are sites or groups by their names.
type places[T ~string] map[string]T

// find gives the one with a name, or one that differs from it in capitals alone.
func (p places[T]) find(name string) (T, bool) {
	id, ok := p[name]
	if ok {
		return id, true
	}
	for other, id := range p {
		if strings.EqualFold(other, name) {
			return id, true
		}
	}
	return "", false
}

// load reads the tenant's sites and groups.
func (j *importJob) load(tx *store.Tx) error {
	sites, err := tx.Sites(j.who.tenant.ID)
	if err != nil {
		return err
	}
	groups, err := tx.Groups(j.who.tenant.ID)
	j.sites, j.groups = places[store.SiteID]{}, places[store.GroupID]{}
	for _, s := range sites {
		j.sites[s.Name] = s.ID
	}
	for _, g := range groups {
		j.groups[g.Name] = g.ID
	}
	return err
}

// plan finds out what is to become of each line, and changes nothing.
func (j *importJob) plan(ctx context.Context) error {
	var serials []identity.Serial
	for _, l := range j.list.Lines {
		if l.Serial != "" {
			serials = append(serials, l.Serial)
		}
	}
	var known []store.System
	err := j.api.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if err = j.load(tx); err == nil {
			known, err = tx.SystemsBySerial(j.who.tenant.ID, serials)
		}
		return err
	})
	if err != nil {
		return err
	}
	room, err := j.api.cfg.Pairing.Importable(ctx, j.who.pairing())
	if err != nil {
		return err
	}
	have := make(map[identity.Serial]store.System, len(known))
	for _, s := range known {
		have[s.Serial] = s
	}
	j.lines, j.newSites, j.newGroups = make([]ImportLine, len(j.list.Lines)), []string{}, []string{}
	for i, l := range j.list.Lines {
		line := &j.lines[i]
		*line = ImportLine{Line: l.Number, Serial: string(l.Serial), Name: l.Name, Outcome: ImportCreated, Errors: []ImportError{}}
		for _, f := range l.Faults {
			line.Outcome = ImportInvalid
			line.Errors = append(line.Errors, ImportError{string(f.Column), f.Code, f.Message, f.Other})
		}
		if line.Outcome == ImportInvalid {
			continue
		}
		if s, ok := have[l.Serial]; ok {
			j.exists(line, l, s)
			continue
		}
		if line.Errors = j.refuses(l); len(line.Errors) == 0 && room == 0 {
			line.Errors = append(line.Errors, ImportError{Code: importQuota, Message: quotaMessage})
		}
		if len(line.Errors) > 0 {
			line.Outcome = ImportRefused
			continue
		}
		room--
		j.note(l)
	}
	if len(j.sites)+len(j.newSites) > store.MaxSites {
		return problem(CodeInvalid, "", FieldError{"body.site", FieldTooMany, fmt.Sprintf("there are %d sites, and no more than %d can be", len(j.sites), store.MaxSites)})
	}
	if len(j.groups)+len(j.newGroups) > store.MaxGroups {
		return problem(CodeInvalid, "", FieldError{"body.groups", FieldTooMany, fmt.Sprintf("there are %d groups, and no more than %d can be", len(j.groups), store.MaxGroups)})
	}
	return nil
}

// exists is for a line whose serial the tenant has.
func (j *importJob) exists(line *ImportLine, l onboarding.Line, s store.System) {
	if !j.who.may.May(access.SystemRead, access.Resource{Tenant: s.Tenant, Site: s.Site, System: s.ID}) {
		line.Outcome = ImportRefused
		line.Errors = append(line.Errors, ImportError{
			Column: string(onboarding.Serial), Code: importForbidden, Message: "is in a part of the tenant that the person does not see",
		})
		return
	}
	line.Outcome, line.SystemID = ImportExists, string(s.ID)
	groups := make([]string, len(s.Groups))
	for i, g := range s.Groups {
		groups[i] = g.Name
	}
	site, _ := j.sites.find(l.Site)
	for _, c := range j.list.Columns {
		same := true
		switch c {
		case onboarding.Serial:
		case onboarding.Name:
			same = s.Name == l.Name
		case onboarding.Note:
			same = s.Note == l.Note
		case onboarding.Site:
			same = s.Site == site && (l.Site == "" || site != "")
		case onboarding.Groups:
			same = sameNames(groups, l.Groups)
		case onboarding.Tags:
			same = sameNames(s.Tags, l.Tags)
		}
		if !same {
			line.Differs = append(line.Differs, string(c))
		}
	}
}

func sameNames(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(name string) bool {
		return !slices.ContainsFunc(b, func(other string) bool { return strings.EqualFold(name, other) })
	})
}

// known fills in which system has the serial of a line that somebody else has just added.
func (j *importJob) known(ctx context.Context, line *ImportLine) {
	err := j.api.cfg.Store.View(ctx, func(tx *store.Tx) error {
		s, err := tx.SystemBySerial(j.who.tenant.ID, identity.Serial(line.Serial))
		if err == nil && j.who.may.May(access.SystemRead, access.Resource{Tenant: s.Tenant, Site: s.Site, System: s.ID}) {
			line.SystemID = string(s.ID)
		}
		return err
	})
	if err != nil {
		j.api.log.Debug("a system that was there is not found any more", "error", err)
	}
}

// refuses says why the actor does not add the system of a line.
func (j *importJob) refuses(l onboarding.Line) []ImportError {
	all := []ImportError{} // no line of an answer has null
	whole := access.Of(j.who.tenant.ID)
	mayMake := j.create && j.who.may.May(access.TenantWrite, whole)
	missing := func(column onboarding.Column, message string) {
		code := importReference
		if j.create {
			code, message = importForbidden, "is not there, and the person may not make it"
		}
		all = append(all, ImportError{Column: string(column), Code: code, Message: message})
	}
	at, there := whole, true
	if l.Site != "" {
		at.Site, there = j.sites.find(l.Site)
	}
	switch {
	case !there && !mayMake:
		missing(onboarding.Site, "is not there")
	case !there && !j.who.mayAdd(whole), there && !j.who.mayAdd(at):
		all = append(all, ImportError{Column: string(onboarding.Site), Code: importForbidden, Message: "the person may not add a system there"})
	}
	for _, name := range l.Groups {
		if _, there := j.groups.find(name); !there && !mayMake {
			missing(onboarding.Groups, "has one that is not there")
			break
		}
	}
	return all
}

// note notes what has to be made for a line.
func (j *importJob) note(l onboarding.Line) {
	add := func(to *[]string, name string, there bool) {
		if name != "" && !there && !slices.ContainsFunc(*to, func(other string) bool { return strings.EqualFold(other, name) }) {
			*to = append(*to, name)
		}
	}
	_, there := j.sites.find(l.Site)
	add(&j.newSites, l.Site, there)
	for _, name := range l.Groups {
		_, there := j.groups.find(name)
		add(&j.newGroups, name, there)
	}
}

// makePlaces makes the sites and groups of new systems that are not there.
func (j *importJob) makePlaces(ctx context.Context) error {
	if len(j.newSites)+len(j.newGroups) == 0 {
		return nil
	}
	return j.api.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := j.load(tx); err != nil { // somebody else may have made them
			return err
		}
		for _, name := range j.newSites {
			if _, there := j.sites.find(name); there {
				continue
			}
			s := store.Site{ID: store.NewID[store.SiteID](), Tenant: j.who.tenant.ID, Name: name, Created: time.Now()}
			if err := tx.CreateSite(s); err != nil {
				return err
			}
			j.sites[name] = s.ID
		}
		for _, name := range j.newGroups {
			if _, there := j.groups.find(name); there {
				continue
			}
			g := store.Group{ID: store.NewID[store.GroupID](), Tenant: j.who.tenant.ID, Name: name, Created: time.Now()}
			if err := tx.CreateGroup(g); err != nil {
				return err
			}
			j.groups[name] = g.ID
		}
		return nil
	})
}
