package gen

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, public, private string }{
		{"site_id", "SiteID", "siteID"},
		{"If-Match", "IfMatch", "ifMatch"},
		{"listSystems", "ListSystems", "listSystems"},
		{"removeTOTP", "RemoveTOTP", "removeTOTP"},
		{"publicKey", "PublicKey", "publicKey"},
		{"id", "ID", "id"},
		{"rtt_ms", "RTTMs", "rttMs"},
		{"break_glass.begin", "BreakGlassBegin", "breakGlassBegin"},
	} {
		if got := public(tt.name); got != tt.public {
			t.Errorf("public(%q) = %q, want %q", tt.name, got, tt.public)
		}
		if got := private(tt.name); got != tt.private {
			t.Errorf("private(%q) = %q, want %q", tt.name, got, tt.private)
		}
	}
}

const problem = `"Problem":{"type":"object","properties":{"code":{"type":"string","enum":["invalid"]}}}`

func TestRender(t *testing.T) {
	t.Parallel()
	got, err := Render([]byte(`{"paths":{"/things/{id}/file":{"put":{"operationId":"putFile","summary":"Put it",
		"parameters":[{"name":"id","in":"path","schema":{"type":"string"}},{"name":"dry_run","in":"query","schema":{"type":"boolean"}},{"name":"Idempotency-Key","in":"header","schema":{"type":"string"}}],
		"requestBody":{"content":{"text/csv":{"schema":{"type":"string","format":"binary"}}}},
		"responses":{"200":{"content":{"application/pdf":{}}},"403":{}},"x-access":{"of":"tenant","verb":"thing.write"}}}},
		"components":{"schemas":{` + problem + `}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"func (c *Client) PutFile(ctx context.Context, id string, in io.Reader, p *PutFileParams) (io.ReadCloser, error)",
		`Path: "/things/" + url.PathEscape(id) + "/file"`, "Once: true", `ContentType: "text/csv"`, `add(v, "dry_run", p.DryRun)`,
		`Verb: "thing.write"`, `CodeInvalid Code = "invalid"`, `Answer: "application/pdf"`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("there is no %s in\n%s", want, got)
		}
	}
}

// TestRenderFails: nothing of a document is left out unseen.
func TestRenderFails(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"no JSON":           `{`,
		"no problem":        `{}`,
		"a name taken":      `{"components":{"schemas":{` + problem + `,"Client":{"type":"object"}}}}`,
		"a type unknown":    `{"components":{"schemas":{` + problem + `,"X":{"type":"object","properties":{"a":{"type":["string","integer"]}}}}}}`,
		"a reference":       `{"components":{"schemas":{` + problem + `,"X":{"type":"object","properties":{"a":{"$ref":"#/components/schemas/None"}}}}}}`,
		"no success":        `{"paths":{"/x":{"get":{"operationId":"x","summary":"X","responses":{"400":{}}}}},"components":{"schemas":{` + problem + `}}}`,
		"pages without end": `{"paths":{"/x":{"get":{"operationId":"x","summary":"X","parameters":[{"name":"cursor","in":"query","schema":{"type":"string"}}],"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/L"}}}}}}}},"components":{"schemas":{` + problem + `,"L":{"type":"object","properties":{"items":{"type":"array","items":{"type":"string"}}}}}}}`,
	} {
		if got, err := Render([]byte(document)); err == nil {
			t.Errorf("%s: no error, but\n%s", name, got)
		}
	}
}
