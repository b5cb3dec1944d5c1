package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// FilterFields choose systems, as the parameters of listSystems do.
type FilterFields struct {
	Query         string        `json:"q,omitempty" maxLength:"100" pattern:"^[^\\x00]*$" patternDescription:"text without NUL" doc:"Text in serial, name, note, tags or the name of the site"`
	State         []store.State `json:"state,omitempty" nullable:"false" maxItems:"8" uniqueItems:"true" enum:"offered,received,proving,paired,left,expired,declined,error" doc:"Any of these"`
	Online        *bool         `json:"online,omitempty" nullable:"false"`
	OfflineReason string        `json:"offline_reason,omitempty" maxLength:"40" pattern:"^[a-z_]*$" patternDescription:"a word" doc:"Only what is offline for this reason"`
	Tag           []string      `json:"tag,omitempty" nullable:"false" maxItems:"20" uniqueItems:"true" maxLength:"40" pattern:"^[^\\x00]*$" patternDescription:"text without NUL" doc:"All of these"`
	Group         string        `json:"group,omitempty" maxLength:"64" pattern:"^[^\\x00]*$" patternDescription:"text without NUL" doc:"Id of a group"`
	Site          string        `json:"site,omitempty" maxLength:"64" pattern:"^[^\\x00]*$" patternDescription:"text without NUL" doc:"Id of a site"`
	Sort          string        `json:"sort,omitempty" enum:"name,-name,serial,-serial,state,-state,state_since,-state_since,created_at,-created_at,last_seen_at,-last_seen_at"`
}

// NewFilter keeps a filter.
type NewFilter struct {
	Name   string       `json:"name" minLength:"1" maxLength:"60" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Shared bool         `json:"shared,omitempty" doc:"For all in the tenant, which takes who manages its users"`
	Filter FilterFields `json:"filter"`
}

// FilterChange is what a filter is to be; whose it is does not change.
type FilterChange struct {
	Name   string       `json:"name" minLength:"1" maxLength:"60" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Filter FilterFields `json:"filter"`
}

// Filter is a filter with a name.
type Filter struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Shared  bool         `json:"shared" doc:"All in the tenant have it"`
	Default bool         `json:"default" doc:"The person's list of systems begins with it"`
	Filter  FilterFields `json:"filter"`
}

// FilterList is all that a person may choose from.
type FilterList struct {
	Items []Filter `json:"items" nullable:"false"`
}

// FilterChoice is the filter that a person's list begins with.
type FilterChoice struct {
	FilterID string `json:"filter_id" maxLength:"64" doc:"Empty: none"`
}

// FilterPath is the filter in an address.
type FilterPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the filter"`
}

func (a *API) registerFilters() {
	add(a, operation{
		id: "listFilters", method: http.MethodGet, path: "/filters", tag: tagLabels, rule: inParts(access.SystemRead),
		summary: "The filters that the person has kept, and those of all in the tenant, by name",
	}, a.listFilters)
	add(a, operation{
		id: "createFilter", method: http.MethodPost, path: "/filters", tag: tagLabels, rule: inParts(access.SystemRead), status: http.StatusCreated,
		summary: "Keep a filter of systems", codes: []Code{CodeConflict, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createFilter)
	add(a, operation{
		id: "updateFilter", method: http.MethodPut, path: "/filters/{id}", tag: tagLabels, rule: inParts(access.SystemRead),
		summary: "Change a filter", description: "One of all in the tenant changes who manages its users.", codes: []Code{CodeConflict},
	}, a.updateFilter)
	add(a, operation{
		id: "removeFilter", method: http.MethodDelete, path: "/filters/{id}", tag: tagLabels, rule: inParts(access.SystemRead), status: http.StatusNoContent,
		summary: "Remove a filter", description: "One of all in the tenant removes who manages its users.",
	}, a.removeFilter)
	add(a, operation{
		id: "setDefaultFilter", method: http.MethodPut, path: "/default-filter", tag: tagLabels, rule: inParts(access.SystemRead), status: http.StatusNoContent,
		summary: "Choose the filter that the person's list of systems begins with",
	}, a.setDefaultFilter)
}

func filterOf(f store.SavedFilter, first store.FilterID) (Filter, error) {
	out := Filter{ID: string(f.ID), Name: f.Name, Shared: f.User == "", Default: f.ID == first}
	if err := json.Unmarshal([]byte(f.Filter), &out.Filter); err != nil {
		return out, fmt.Errorf("kept filter %s: %w", f.ID, err)
	}
	return out, nil
}

func (a *API) listFilters(ctx context.Context, _ *nothing) (*body[FilterList], error) {
	who := mustActor(ctx)
	out := &body[FilterList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		first, err := tx.DefaultFilter(who.tenant.ID, who.user.ID)
		if err != nil {
			return err
		}
		all, err := tx.Filters(who.tenant.ID, who.user.ID)
		if err != nil {
			return err
		}
		out.Body.Items = make([]Filter, len(all))
		for i, f := range all {
			if out.Body.Items[i], err = filterOf(f, first); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// mayShare finds fault where the actor is not to change what all in the tenant have.
func (a actor) mayShare() error {
	if !a.may.May(access.UsersManage, access.Of(a.tenant.ID)) {
		return problem(CodeForbidden, "what all in the tenant have takes who manages its users")
	}
	return nil
}

type createFilterInput struct {
	Idempotency
	Body NewFilter
}

func (a *API) createFilter(ctx context.Context, in *createFilterInput) (*created[Filter], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createFilter", in.Body, func(ctx context.Context) (*created[Filter], error) {
		f := store.SavedFilter{ID: store.NewID[store.FilterID](), Tenant: who.tenant.ID, User: who.user.ID, Name: in.Body.Name, Created: time.Now()}
		if in.Body.Shared {
			if err := who.mayShare(); err != nil {
				return nil, err
			}
			f.User = ""
		}
		text, err := json.Marshal(in.Body.Filter)
		if err != nil {
			return nil, err
		}
		f.Filter = string(text)
		err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.CreateFilter(f) })
		if errors.Is(err, store.ErrLimit) {
			return nil, problem(CodeInvalid, "", FieldError{"body.name", FieldTooMany, fmt.Sprintf("there are %d filters, and no more can be", store.MaxFilters)})
		}
		if err != nil {
			return nil, err
		}
		out, err := filterOf(f, "")
		return &created[Filter]{Body: out}, err
	})
}

type updateFilterInput struct {
	FilterPath
	Body FilterChange
}

func (a *API) updateFilter(ctx context.Context, in *updateFilterInput) (*body[Filter], error) {
	who := mustActor(ctx)
	text, err := json.Marshal(in.Body.Filter)
	if err != nil {
		return nil, err
	}
	out := &body[Filter]{}
	err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		f, err := who.filter(tx, in.ID)
		if err != nil {
			return err
		}
		if err := tx.ChangeFilter(who.tenant.ID, f.ID, in.Body.Name, string(text)); err != nil {
			return err
		}
		first, err := tx.DefaultFilter(who.tenant.ID, who.user.ID)
		if err != nil {
			return err
		}
		f.Name, f.Filter = in.Body.Name, string(text)
		out.Body, err = filterOf(f, first)
		return err
	})
	return out, err
}

// filter gives one that the actor may change.
func (a actor) filter(tx *store.Tx, id string) (store.SavedFilter, error) {
	f, err := tx.Filter(a.tenant.ID, a.user.ID, store.FilterID(id))
	if err == nil && f.User == "" {
		err = a.mayShare()
	}
	return f, err
}

func (a *API) removeFilter(ctx context.Context, in *FilterPath) (*nothing, error) {
	who := mustActor(ctx)
	return nil, a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		f, err := who.filter(tx, in.ID)
		if err != nil {
			return err
		}
		return tx.DeleteFilter(who.tenant.ID, f.ID)
	})
}

type defaultFilterInput struct{ Body FilterChoice }

func (a *API) setDefaultFilter(ctx context.Context, in *defaultFilterInput) (*nothing, error) {
	who := mustActor(ctx)
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.SetDefaultFilter(who.tenant.ID, who.user.ID, store.FilterID(in.Body.FilterID))
	})
	if errors.Is(err, store.ErrNotFound) {
		err = problem(CodeInvalid, "", FieldError{"body.filter_id", FieldReference, "is not there"})
	}
	return nil, err
}
