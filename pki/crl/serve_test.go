package crl

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func get(s *Service, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	s.ServeList(w, r)
	return w
}

func TestServeList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t)
		old, now := newIssuer(t, identity.KindDevice, false), newIssuer(t, identity.KindDevice, true)
		s, other := l.service(t, nil, Config{}, old, now), l.service(t, nil, Config{}, old, now)
		path := func(i Issuer) string { return ListPath + i.Name() + listSuffix }
		if resp := get(s, path(now), nil); resp.Code != http.StatusNotFound {
			t.Errorf("before the first list: %d", resp.Code)
		}
		build(t, s)
		newest := get(s, ListPath+"device.crl", nil)
		etag, date := newest.Header().Get("ETag"), newest.Header().Get("Last-Modified")
		if newest.Code != http.StatusOK || newest.Header().Get("Content-Type") != "application/pkix-crl" ||
			newest.Header().Get("Cache-Control") != "public, max-age=300" || etag == "" || date == "" {
			t.Errorf("%d %v", newest.Code, newest.Header())
		}
		text := newest.Body.String()
		// Every process serves the same bytes; the kind alone is the newest.
		if get(other, path(now), nil).Body.String() != text || get(s, path(old), nil).Body.String() == text {
			t.Error("not the list of that issuer")
		}
		for name, h := range map[string]http.Header{"ETag": {"If-None-Match": {etag}}, "date": {"If-Modified-Since": {date}}} {
			if resp := get(s, path(now), h); resp.Code != http.StatusNotModified {
				t.Errorf("same %s: %d", name, resp.Code)
			}
		}
		for _, path := range []string{"/crl/", "/crl/device", "/crl/relay.crl", "/crl/../device.crl", "/crl/state/device.crl"} {
			if resp := get(s, path, nil); resp.Code != http.StatusNotFound {
				t.Errorf("%s: %d", path, resp.Code)
			}
		}
		// Made anew by the other process.
		time.Sleep(6 * time.Minute)
		build(t, other)
		if resp := get(s, path(now), http.Header{"If-None-Match": {etag}}); resp.Code != http.StatusOK {
			t.Errorf("a new list: %d", resp.Code)
		}
	})
}
