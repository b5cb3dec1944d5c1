package server

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"token":"AAAA","csr":"-----BEGIN"}`))
	f.Add([]byte(`{"token":1}`))
	f.Add([]byte(`[{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req, err := decode[enrol.Request](r)
		if err != nil && !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("error of another kind: %v", err)
		}
		if err != nil {
			return
		}
		if _, err := enrol.ParseRequest([]byte(req.CSR)); err != nil && !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}
