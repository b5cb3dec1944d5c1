package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

func (a *API) admit(operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) { next(ctx) }
}
func (a *API) answer(_ string, err error) error { return err }

func (a *API) getMeta(context.Context, *nothing) (*body[Meta], error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) signIn(context.Context, *body[Credentials]) (*body[Me], error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) getSession(context.Context, *nothing) (*body[Me], error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) signOut(context.Context, *nothing) (*nothing, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) setLanguage(context.Context, *body[LanguageChange]) (*nothing, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) setPassword(context.Context, *body[PasswordChange]) (*nothing, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) listSystems(context.Context, *SystemQuery) (*body[SystemList], error) {
	return nil, problem(CodeUnavailable, "")
}

type createSystemInput struct {
	Idempotency
	Body NewSystem
}

func (a *API) createSystem(context.Context, *createSystemInput) (*createdOutput, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) getSystem(context.Context, *SystemPath) (*systemOutput, error) {
	return nil, problem(CodeUnavailable, "")
}

type updateSystemInput struct {
	SystemPath
	IfMatch
	Body SystemChange
}

func (a *API) updateSystem(context.Context, *updateSystemInput) (*systemOutput, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) removeSystem(context.Context, *SystemPath) (*nothing, error) {
	return nil, problem(CodeUnavailable, "")
}

type replaceSystemInput struct {
	SystemPath
	Idempotency
	Body Replacement
}

func (a *API) replaceSystem(context.Context, *replaceSystemInput) (*createdOutput, error) {
	return nil, problem(CodeUnavailable, "")
}

type listSystemEventsInput struct {
	SystemPath
	Page
}

func (a *API) listSystemEvents(context.Context, *listSystemEventsInput) (*body[EventList], error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) getOffer(context.Context, *SystemPath) (*body[Offer], error) {
	return nil, problem(CodeUnavailable, "")
}

type renewOfferInput struct {
	SystemPath
	Idempotency
}

func (a *API) renewOffer(context.Context, *renewOfferInput) (*offerOutput, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) withdrawOffer(context.Context, *SystemPath) (*nothing, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) listGroups(context.Context, *nothing) (*body[GroupList], error) {
	return nil, problem(CodeUnavailable, "")
}

type createGroupInput struct {
	Idempotency
	Body NewGroup
}

func (a *API) createGroup(context.Context, *createGroupInput) (*groupOutput, error) {
	return nil, problem(CodeUnavailable, "")
}

type groupPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the group"`
}

func (a *API) removeGroup(context.Context, *groupPath) (*nothing, error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) listTags(context.Context, *nothing) (*body[TagList], error) {
	return nil, problem(CodeUnavailable, "")
}
func (a *API) streamEvents(context.Context, *nothing) (*huma.StreamResponse, error) {
	return nil, problem(CodeUnavailable, "")
}
