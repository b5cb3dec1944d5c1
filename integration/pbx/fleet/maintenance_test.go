package fleet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// call asks a PBX of a fleet, without a listener.
func call(p *pbx.PBX, method, path string, body []byte, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, "/api/v1/"+path, bytes.NewReader(body))
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	return w
}

// TestFleetTakesFirmware: each PBX of a fleet updates itself, or does not in the way that it
// is told, and none keeps the image in memory.
//
//nolint:paralleltest // it measures the heap
func TestFleetTakesFirmware(t *testing.T) {
	const n, size = 24, 2 << 20
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var image bytes.Buffer
	if _, err := firmware.Pack(&image, bytes.NewReader(make([]byte, size)), firmware.Manifest{Model: "COMtrexx Business", Version: "2.0.0", Released: "2026-11-26"}, key); err != nil {
		t.Fatal(err)
	}
	faults := append([]pbx.Fault{pbx.FaultNone}, pbx.Faults...)
	f, err := New(Config{
		Credentials: credentials(pkitest.New(t, td), n),
		PBX: pbx.Config{
			FirstPassword: "first-password", FirmwareKeys: firmware.NewKeys(key.Public().(ed25519.PublicKey)),
			Limits: pbx.Limits{Restart: time.Millisecond, Install: time.Millisecond},
		},
		Change: func(i int, c *pbx.Config) { c.Fault = faults[i%len(faults)] },
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "fleet", f.Run)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i, p := range f.PBXs() {
		cookies := call(p, http.MethodPost, "login", nil, func(r *http.Request) { r.SetBasicAuth("admin", "first-password") }).Result().Cookies()
		w := call(p, http.MethodPut, "firmware", image.Bytes(), func(r *http.Request) {
			r.Header.Set("Content-Type", "application/octet-stream")
			for _, c := range cookies {
				r.AddCookie(c)
			}
		})
		want := http.StatusAccepted
		if faults[i%len(faults)] == pbx.FaultRefuse {
			want = http.StatusConflict
		}
		if w.Code != want {
			t.Errorf("%d: %d %s", i, w.Code, w.Body)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	there := func(p *pbx.PBX) bool {
		return call(p, http.MethodGet, "nothing", nil, nil).Code == http.StatusNotFound
	}
	for i, p := range f.PBXs() {
		for {
			s := p.State().Firmware
			done := map[pbx.Fault]bool{
				pbx.FaultNone:    s.Current.Version == "2.0.0" && there(p) && f.version(i) == "2.0.0",
				pbx.FaultInstall: s.Failure == state.FailInstall && s.Current.Version == "",
				pbx.FaultReturn:  s.Current.Version == "2.0.0" && !there(p),
				pbx.FaultRefuse:  s.Current.Version == "" && s.Installing == nil && there(p),
			}[faults[i%len(faults)]]
			if done {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("PBX %d with the fault %q: %+v", i, faults[i%len(faults)], s)
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > size { //nolint:gosec // far from overflow
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	runtime.KeepAlive(f)
}

// version is what a PBX says that it runs.
func (f *Fleet) version(i int) string {
	p := f.PBXs()[i]
	cookies := call(p, http.MethodPost, "login", nil, func(r *http.Request) { r.SetBasicAuth("admin", "first-password") }).Result().Cookies()
	w := call(p, http.MethodGet, "system", nil, func(r *http.Request) {
		for _, c := range cookies {
			r.AddCookie(c)
		}
	})
	var s pbx.System
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		return ""
	}
	return s.Firmware
}
