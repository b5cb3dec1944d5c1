package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-chi/httprate"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/semaphore"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Prefix is where the API is on the server.
const Prefix = "/api/v1"

// API answers requests. Make it with [New].
type API struct {
	cfg     Config
	log     hclog.Logger
	mux     *http.ServeMux
	huma    huma.API
	hub     *hub
	paired  *paired
	changes *changes
	metrics *metrics
	limiter *httprate.RateLimiter
	repeats *repeats
	// creations bounds how many accounts are made at once.
	creations *semaphore.Weighted
	// bodies has how large those may be that are not bound by Limits.Body, by pattern.
	bodies  map[string]configs.Bytes
	ready   chan struct{} // closed when paired is filled
	closing chan struct{} // closed when streams are to end
	close   sync.Once

	// view is the store's, for live events; tests have it fail.
	view func(context.Context, func(*store.Tx) error) error

	// visible is the function of that name, and adapt gives an operation's rule as it is;
	// tests make holes with them, which others have to find.
	visible func(access.Actor, store.TenantID) bool
	adapt   func(id string, r rule) rule

	problemSchema *huma.Schema
}

// New makes the API. It starts nothing.
func New(cfg Config) (*API, error) { return newWith(cfg, asItIs) }

func asItIs(_ string, r rule) rule { return r }

func newWith(cfg Config, adapt func(string, rule) rule) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Store == nil || cfg.Keys == nil || cfg.Accounts == nil || cfg.Pairing == nil || cfg.Remote == nil || cfg.Fleet == nil || cfg.Rollouts == nil {
		return nil, errors.New("api: Store, Keys, Accounts, Pairing, Remote, Fleet and Rollouts are needed")
	}
	a := newAPI(cfg, adapt)
	a.view = cfg.Store.View
	var err error
	if a.metrics, err = newMetrics(cfg.Metrics, a.hub); err != nil {
		return nil, fmt.Errorf("api: metrics: %w", err)
	}
	// Not before somebody wants it: it takes longer than all else here.
	document := sync.OnceValues(a.document)
	a.mux.HandleFunc("GET "+Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		text, err := document()
		if err != nil {
			a.log.Error("the document of the API", "err", err)
			problem(CodeInternal, "").write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // the client is gone where that fails
	})
	return a, nil
}

// newAPI makes the operations and their document.
func newAPI(cfg Config, adapt func(string, rule) rule) *API {
	cfg = cfg.withDefaults()
	a := &API{
		cfg: cfg, log: cfg.Logger, mux: http.NewServeMux(), hub: newHub(cfg.Streams.Queue), paired: newPaired(),
		changes: &changes{wake: make(chan struct{}, 1)}, limiter: newLimiter(cfg.Limits), creations: semaphore.NewWeighted(parallelCreations),
		repeats: newRepeats(cfg.Audit.RepeatsWithin, cfg.Audit.Refusals),
		bodies:  map[string]configs.Bytes{}, ready: make(chan struct{}), closing: make(chan struct{}), visible: visible, adapt: adapt,
	}
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	a.huma = humago.NewWithPrefix(a.mux, Prefix, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "COMtrexx CCC", Version: "1",
				Description: "Systems, their pairing and their presence. Every answer that is not 2xx is a problem (RFC 9457) with a stable code.",
			},
			Components: &huma.Components{
				Schemas: schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"session": {Type: "apiKey", In: "cookie", Name: "__Host-ccc", Description: "From signIn. Over plain HTTP on loopback the cookie's name is ccc."},
					"token":   {Type: "http", Scheme: "bearer", Description: "From createToken, without a cookie. It is good for its verbs in its tenant."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{translate},
	})
	a.problemSchema = schemas.Schema(reflect.TypeFor[Problem](), true, "")
	code := schemas.SchemaFromRef(a.problemSchema.Ref).Properties["code"]
	for _, c := range slices.Sorted(maps.Keys(codes)) {
		code.Enum = append(code.Enum, c)
	}
	a.register()
	a.tidy(schemas)
	return a
}

// tidy takes out of the document what huma put there and does not hold: its own form of
// errors, which no answer has, and that answers never get new fields.
func (a *API) tidy(schemas huma.Registry) {
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		delete(schemas.Map(), name)
	}
	requests := map[string]bool{}
	for _, path := range a.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Post, path.Put, path.Patch} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			if content := op.RequestBody.Content["application/json"]; content != nil {
				requests[content.Schema.Ref] = true
			}
		}
	}
	for name, schema := range schemas.Map() {
		if !requests["#/components/schemas/"+name] {
			schema.AdditionalProperties = nil
		}
	}
}

// OpenAPI gives the document that describes the API: OpenAPI 3.1 as indented JSON.
func OpenAPI() ([]byte, error) { return newAPI(Config{}, asItIs).document() }

func (a *API) document() ([]byte, error) {
	text, err := json.MarshalIndent(a.huma.OpenAPI(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	return append(text, '\n'), nil
}
