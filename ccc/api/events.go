package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
)

// eventTypes are the live events and their data.
var eventTypes = []struct {
	name string
	data reflect.Type
	doc  string
}{
	{"summary", reflect.TypeFor[Summary](), "Counts; the first event, and after changes"},
	{"system", reflect.TypeFor[System](), "A system is new or has changed"},
	{"removed", reflect.TypeFor[Removed](), "A system is gone"},
	{"presence", reflect.TypeFor[Presence](), "A paired system went online or offline"},
	{"offer", reflect.TypeFor[OfferStep](), "An offer has come further"},
	{"remote", reflect.TypeFor[RemoteChange](), "Remote access to a system has changed: load it anew"},
	{"access", reflect.TypeFor[AccessChange](), "Who may do what in the tenant has changed, somebody broke glass, or a system is offered: load these anew"},
	{"rollout", reflect.TypeFor[RolloutChange](), "Rollouts have progressed: load them anew"},
	{"reset", reflect.TypeFor[Reset](), "Events were left out: load everything anew"},
}

// registerEvents registers the stream. Huma's own helper knows no comments, which the
// heartbeat is.
func (a *API) registerEvents() {
	var all []*huma.Schema
	for _, e := range eventTypes {
		all = append(all, &huma.Schema{
			Type: huma.TypeObject, Description: e.doc, Required: []string{"event", "data"},
			Properties: map[string]*huma.Schema{
				"event": {Type: huma.TypeString, Extensions: map[string]any{"const": e.name}},
				"data":  a.huma.OpenAPI().Components.Schemas.Schema(e.data, true, e.name),
			},
		})
	}
	add(a, operation{
		id: "streamEvents", method: http.MethodGet, path: "/events", tag: tagLive, rule: inParts(access.SystemRead),
		summary: "Live events",
		description: "Server-sent events (text/event-stream). Each item below is one: the field event, and data as one line of JSON. " +
			"A comment comes whenever nothing else has for a while. Several changes of one thing in a short time are one event.",
	}, a.streamEvents)
	a.huma.OpenAPI().Paths["/events"].Get.Responses["200"] = &huma.Response{
		Description: "The stream, until one side ends it",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{
			Type: huma.TypeArray, Items: &huma.Schema{OneOf: all},
		}}},
	}
}
