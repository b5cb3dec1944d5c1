package pairing

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// FuzzAnswered reads what a PBX's own interface answers.
func FuzzAnswered(f *testing.F) {
	f.Add(200, []byte(`{"serial":"0123456789"}`))
	f.Add(200, []byte(`{"serial":1}`))
	f.Add(401, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var facts struct {
			Serial identity.Serial `json:"serial"`
		}
		err := answered(&http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body))}, &facts)
		if err == nil && (status < 200 || status > 299) {
			t.Fatalf("status %d is a success", status)
		}
	})
}
