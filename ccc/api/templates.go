package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Template is a named set of settings.
type Template struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Version   int64          `json:"version" doc:"Rises with every change; the ETag, for If-Match"`
	Settings  rollout.Values `json:"settings"`
	CreatedAt time.Time      `json:"created_at"`
	ChangedAt time.Time      `json:"changed_at"`
	ChangedBy Actor          `json:"changed_by"`
}

// TemplateList is all templates.
type TemplateList struct {
	Items []Template `json:"items" nullable:"false"`
}

// NewTemplate makes a template, or replaces what one is.
type NewTemplate struct {
	Name     string         `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Settings rollout.Values `json:"settings" minProperties:"1" maxProperties:"200" doc:"By key. Whether a PBX takes them it says in the dry run of a rollout"`
	SystemID string         `json:"system_id,omitempty" maxLength:"64" doc:"Of a PBX that can be reached: it says whether it would take the settings. Default: nobody is asked"`
}

// TemplatePath is the template in an address.
type TemplatePath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the template"`
}

func (a *API) registerTemplates() {
	add(a, operation{
		id: "listTemplates", method: http.MethodGet, path: "/templates", tag: tagConfiguration, rule: inParts(access.ConfigRead),
		summary: "Named sets of settings, by name",
	}, a.listTemplates)
	add(a, operation{
		id: "createTemplate", method: http.MethodPost, path: "/templates", tag: tagConfiguration, rule: inTenant(access.ConfigWrite), status: http.StatusCreated,
		summary: "Make a template", codes: []Code{CodeConflict, CodeState, CodeOffline, CodeConfigurationOff, CodePBX, CodeVersion, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createTemplate)
	add(a, operation{
		id: "getTemplate", method: http.MethodGet, path: "/templates/{id}", tag: tagConfiguration, rule: inParts(access.ConfigRead),
		summary: "Get a template",
	}, a.getTemplate)
	add(a, operation{
		id: "updateTemplate", method: http.MethodPut, path: "/templates/{id}", tag: tagConfiguration, rule: inTenant(access.ConfigWrite),
		summary: "Replace name and settings of a template", description: "Rollouts that there are keep what it was.",
		codes: []Code{CodeConflict, CodeState, CodeOffline, CodeConfigurationOff, CodePBX, CodeVersion, CodeVersionRequired},
	}, a.updateTemplate)
	add(a, operation{
		id: "removeTemplate", method: http.MethodDelete, path: "/templates/{id}", tag: tagConfiguration, rule: inTenant(access.ConfigWrite), status: http.StatusNoContent,
		summary: "Remove a template",
	}, a.removeTemplate)
}

func templateOf(tx *store.Tx, t store.Template) (Template, error) {
	out := Template{ID: string(t.ID), Name: t.Name, Version: t.Version, CreatedAt: t.Created, ChangedAt: t.Changed, ChangedBy: Actor{ID: string(t.ChangedBy)}}
	if err := json.Unmarshal(t.Settings, &out.Settings); err != nil {
		return out, err
	}
	names, err := tx.UserNames([]store.UserID{t.ChangedBy})
	out.ChangedBy.Name = names[t.ChangedBy]
	return out, err
}

func (a *API) listTemplates(ctx context.Context, _ *nothing) (*body[TemplateList], error) {
	out := &body[TemplateList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Templates(mustActor(ctx).tenant.ID)
		out.Body.Items = make([]Template, len(all))
		for i, t := range all {
			if err == nil {
				out.Body.Items[i], err = templateOf(tx, t)
			}
		}
		return err
	})
	return out, err
}

func (a *API) getTemplate(ctx context.Context, in *TemplatePath) (*withETag[Template], error) {
	out := &withETag[Template]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		t, err := tx.Template(mustActor(ctx).tenant.ID, store.TemplateID(in.ID))
		if err == nil {
			out.ETag = etag(t.Version)
			out.Body, err = templateOf(tx, t)
		}
		return err
	})
	return out, err
}

// settingsOf checks the settings of a template, and asks a PBX where one is named.
func (a *API) settingsOf(ctx context.Context, who actor, in NewTemplate) ([]byte, error) {
	values, bad := in.Settings.Parse()
	if bad != nil {
		return nil, problem(CodeInvalid, "", FieldError{"body.settings", FieldInvalid, bad.Error()})
	}
	if in.SystemID != "" {
		system := store.SystemID(in.SystemID)
		err := a.decide(ctx, who, atSystem(access.ConfigWrite), system)
		if err == nil {
			_, err = a.cfg.Rollouts.Change(ctx, who.rollout(), system, rollout.Patch{Values: values, DryRun: true})
		}
		if errors.Is(err, store.ErrNotFound) {
			err = problem(CodeInvalid, "", FieldError{"body.system_id", FieldReference, "is not there"})
		}
		if err != nil {
			return nil, err
		}
	}
	return json.Marshal(values)
}

type createTemplateInput struct {
	Idempotency
	Body NewTemplate
}

func (a *API) createTemplate(ctx context.Context, in *createTemplateInput) (*created[Template], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createTemplate", in.Body, func(ctx context.Context) (*created[Template], error) {
		settings, err := a.settingsOf(ctx, who, in.Body)
		if err != nil {
			return nil, err
		}
		at := time.Now()
		t := store.Template{
			ID: store.NewID[store.TemplateID](), Tenant: who.tenant.ID, Name: in.Body.Name, Version: 1, Settings: settings,
			Created: at, Changed: at, ChangedBy: who.user.ID,
		}
		out := &created[Template]{Location: Prefix + "/templates/" + url.PathEscape(string(t.ID))}
		err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			err := tx.CreateTemplate(t)
			if err == nil {
				out.Body, err = templateOf(tx, t)
			}
			return err
		})
		if errors.Is(err, store.ErrLimit) {
			return nil, problem(CodeInvalid, "", FieldError{"body.name", FieldTooMany, fmt.Sprintf("there are %d templates, and no more can be", store.MaxTemplates)})
		}
		if err != nil {
			return nil, err
		}
		return out, nil
	})
}

type updateTemplateInput struct {
	TemplatePath
	Version string `header:"If-Match" maxLength:"64" doc:"ETag of the template as the client knows it"`
	Body    NewTemplate
}

func (a *API) updateTemplate(ctx context.Context, in *updateTemplateInput) (*withETag[Template], error) {
	who := mustActor(ctx)
	if _, err := a.getTemplate(ctx, &in.TemplatePath); err != nil {
		return nil, err
	}
	version, err := parseETag(in.Version)
	if err != nil {
		return nil, err
	}
	settings, err := a.settingsOf(ctx, who, in.Body)
	if err != nil {
		return nil, err
	}
	out := &withETag[Template]{}
	err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		t, err := tx.UpdateTemplate(who.tenant.ID, store.Template{
			ID: store.TemplateID(in.ID), Name: in.Body.Name, Version: version, Settings: settings, Changed: time.Now(), ChangedBy: who.user.ID,
		})
		if err == nil {
			out.ETag = etag(t.Version)
			out.Body, err = templateOf(tx, t)
		}
		return err
	})
	return out, err
}

func (a *API) removeTemplate(ctx context.Context, in *TemplatePath) (*nothing, error) {
	return nil, a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.DeleteTemplate(mustActor(ctx).tenant.ID, store.TemplateID(in.ID))
	})
}
