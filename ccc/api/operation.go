package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// operation is one line of the table of operations.
type operation struct {
	id, method, path string
	summary          string
	description      string
	tag              string
	rule             rule
	status           int           // of success; 0: 200
	body             configs.Bytes // how large it may be; 0: Limits.Body
	// codes are those that are particular to the operation.
	codes []Code
	// audit: it is told of in the audit log, though it only reads.
	audit bool
}

// always gives the codes that come with what an operation is: its parameters, its
// access, and the protection around all of them.
func (op operation) always(hasBody bool) []Code {
	all := []Code{CodeInvalid, CodeRateLimited, CodeInternal, CodeUnavailable}
	if op.rule.audience != everybody {
		all = append(all, CodeUnauthenticated)
	}
	all = append(all, op.proofCodes()...)
	if op.rule.verb != "" {
		all = append(all, CodeForbidden)
	}
	if op.method != http.MethodGet {
		all = append(all, CodeCrossOrigin)
	}
	if hasBody {
		all = append(all, CodeMalformed, CodeTimeout, CodeTooLarge, CodeMediaType)
	}
	if strings.Contains(op.path, "{") || op.rule.inTenant() {
		all = append(all, CodeNotFound)
	}
	return all
}

// add registers an operation with its handler.
// One without a rule is a mistake of the program, which does not start then.
func add[I, O any](a *API, op operation, handler func(context.Context, *I) (*O, error)) {
	op.rule = a.adapt(op.id, op.rule)
	if err := op.rule.check(op.path); err != nil {
		panic("api: operation " + op.id + ": " + err.Error())
	}
	h := huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Description: op.description,
		Tags: []string{op.tag}, DefaultStatus: op.status, MaxBodyBytes: int64(cmp.Or(op.body, a.cfg.Limits.Body)),
		BodyReadTimeout: a.cfg.Limits.BodyTimeout, RejectUnknownQueryParameters: true,
		Middlewares: huma.Middlewares{a.admit(op)},
		Responses:   map[string]*huma.Response{},
		Errors:      []int{http.StatusInternalServerError}, // so that huma adds no default one
	}
	if op.rule.audience != everybody {
		h.Security = op.security()
	}
	if op.rule.inTenant() && op.rule.audience != pathTenant {
		h.Parameters = append(h.Parameters, tenantParameter)
	}
	if op.body > 0 {
		a.bodies[op.method+" "+Prefix+op.path] = op.body
	}
	h.Extensions = map[string]any{"x-access": op.rule.document()}
	huma.Register(a.huma, h, func(ctx context.Context, in *I) (*O, error) {
		given(ctx, in)
		out, err := handler(ctx, in)
		if err != nil {
			err = a.answer(op.id, err)
		}
		if err = a.told(ctx, op, err); err != nil {
			return nil, err
		}
		return out, nil
	})
	a.describe(op)
}

// describe puts the problems of an operation into the document.
func (a *API) describe(op operation) {
	path := a.huma.OpenAPI().Paths[op.path]
	doc := map[string]*huma.Operation{
		http.MethodGet: path.Get, http.MethodPost: path.Post, http.MethodPut: path.Put, http.MethodPatch: path.Patch, http.MethodDelete: path.Delete,
	}[op.method]
	all := slices.Concat(op.codes, op.always(doc.RequestBody != nil))
	slices.Sort(all)
	byStatus := map[int][]string{}
	for _, c := range slices.Compact(all) {
		byStatus[codes[c].status] = append(byStatus[codes[c].status], string(c))
	}
	delete(doc.Responses, strconv.Itoa(http.StatusInternalServerError))
	for status, names := range byStatus {
		r := &huma.Response{
			Description: "Code " + strings.Join(names, ", "),
			Content:     map[string]*huma.MediaType{problemType: {Schema: a.problemSchema}},
		}
		if status == http.StatusTooManyRequests {
			r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds to wait", Schema: &huma.Schema{Type: huma.TypeInteger}}}
		}
		doc.Responses[strconv.Itoa(status)] = r
	}
}
