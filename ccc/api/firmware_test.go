package api

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// maker signs the images of these tests, and stranger others.
var maker, stranger = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))

// makerKeys is a file with the public key.
func makerKeys(t *testing.T) string {
	t.Helper()
	text, err := firmware.EncodePublic(maker.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// imageOf packs an image for the model VM.
func imageOf(t *testing.T, version string, key ed25519.PrivateKey) []byte {
	t.Helper()
	var b bytes.Buffer
	m := firmware.Manifest{Model: "VM", Version: version, Released: "2026-11-26", Notes: map[string]string{"de": "Neu", "en": "New"}}
	if _, err := firmware.Pack(&b, strings.NewReader(strings.Repeat("payload ", 20_000)), m, key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// changedAt changes a bit; from the end where at is below 0.
func changedAt(image []byte, at int) []byte {
	image[(at+len(image))%len(image)] ^= 1
	return image
}

// operator is the owner of a new tenant that runs the control centre.
func (w *world) operator() *client {
	w.t.Helper()
	return w.signedIn(w.kind(store.KindOperator, ""), store.RoleOwner)
}

// sendImage uploads one.
func (c *client) sendImage(image []byte, headers ...string) answer {
	c.w.t.Helper()
	return c.do(http.MethodPost, "/firmware", string(image), append([]string{"Content-Type: application/octet-stream"}, headers...)...)
}

// uploaded is what comes of bytes that the operator sends.
func uploaded(image func(*testing.T) []byte) func(*testing.T) answer {
	return func(t *testing.T) answer { return newWorld(t).serve().operator().sendImage(image(t)) }
}

// The operator uploads, all who see configurations see it, and nobody else changes it.
func TestFirmware(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		staff, owner := w.operator(), w.signedIn(w.north, store.RoleOwner)
		image := imageOf(t, "1.1.0", maker)
		made := read[Firmware](staff.sendImage(image).want(http.StatusCreated))
		if made.Model != "VM" || made.Version != "1.1.0" || made.Size != int64(len(image)) || made.Notes["en"] != "New" || made.Released != "2026-11-26" {
			t.Errorf("%+v", made)
		}
		seen := read[FirmwareList](owner.do(http.MethodGet, "/firmware", "").want(http.StatusOK))
		if one := read[Firmware](owner.do(http.MethodGet, "/firmware/"+made.ID, "").want(http.StatusOK)); len(seen.Items) != 1 || one.SHA256 != made.SHA256 {
			t.Errorf("%+v, %+v", seen, one)
		}
		w.signedIn(w.north, store.RoleMonitoring).do(http.MethodGet, "/firmware", "").problem(CodeForbidden)
		owner.do(http.MethodDelete, "/firmware/"+made.ID, "").problem(CodeOperatorOnly)
		owner.sendImage(imageOf(t, "1.2.0", maker)).problem(CodeOperatorOnly)
		w.signedIn(staff.user.Tenant, store.RoleMonitoring).sendImage(imageOf(t, "1.2.0", maker)).problem(CodeForbidden)
		staff.sendImage(image, "Content-Type: text/plain").problem(CodeMediaType)

		id, _ := owner.configurable("0000000001")
		r := read[Rollout](owner.do(http.MethodPost, "/rollouts", `{"name":"1.1","kind":"firmware","firmware_id":"`+made.ID+`","system_ids":["`+id+`"],"plan":{"downgrade":true}}`).want(http.StatusCreated))
		if r.Firmware == nil || *r.Firmware != (FirmwareRef{made.ID, "VM", "1.1.0"}) || !r.Plan.Downgrade {
			t.Errorf("%+v", r)
		}
		owner.do(http.MethodPost, "/rollouts", `{"name":"1.1","kind":"firmware","firmware_id":"none","system_ids":["`+id+`"]}`).problem(CodeInvalid)
		owner.do(http.MethodPost, "/rollouts/"+r.ID+"/control", `{"action":"stop"}`).want(http.StatusOK)
		staff.do(http.MethodDelete, "/firmware/"+made.ID, "").want(http.StatusNoContent)
		if left := read[FirmwareList](owner.do(http.MethodGet, "/firmware", "").want(http.StatusOK)); len(left.Items) != 0 {
			t.Errorf("left: %+v", left)
		}
		if r = read[Rollout](owner.do(http.MethodGet, "/rollouts/"+r.ID, "").want(http.StatusOK)); r.Firmware.Version != "1.1.0" {
			t.Errorf("without its image: %+v", r.Firmware)
		}
	})
}

// An image is larger than other bodies, and not larger than it may be, whatever its length is
// said to be.
func TestFirmwareIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.rollout.FirmwareMaxSize = 200_000 }).serve()
	c := w.operator()
	large := append(imageOf(t, "1.1.0", maker), bytes.Repeat([]byte("x"), 200_000)...)
	c.sendImage(large[:200_001]).problem(CodeFirmwarePayload)
	send := func(body io.Reader) answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+Prefix+"/firmware", body)
		w.must(err)
		r.Header.Set("Content-Type", "application/octet-stream")
		resp, err := c.http.Do(r)
		w.must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		w.must(err)
		return answer{t, "upload", resp.StatusCode, resp.Header, text}
	}
	var big bytes.Buffer
	_, err := firmware.Pack(&big, strings.NewReader(strings.Repeat("y", 300_000)), firmware.Manifest{Model: "VM", Version: "1.2.0", Released: "2026-11-26"}, maker)
	w.must(err)
	for _, length := range []bool{true, false} {
		var body io.Reader = bytes.NewReader(big.Bytes())
		if !length {
			body = io.MultiReader(body) // nobody knows how long it is
		}
		send(body).problem(CodeTooLarge)
	}
	send(bytes.NewReader(imageOf(t, "1.1.0", maker))).want(http.StatusCreated)
}

// Who manages licences says until when maintenance is paid, and changes nothing else.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner, clerk := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleLicences)
	id := owner.save("0000000001", "One").System.ID
	path, until := "/systems/"+id+"/maintenance", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if s := read[System](clerk.do(http.MethodPut, path, `{"until":"2027-01-01T00:00:00Z"}`).want(http.StatusOK)); s.MaintenanceUntil == nil || !s.MaintenanceUntil.Equal(until) {
		t.Errorf("%v", s.MaintenanceUntil)
	}
	clerk.do(http.MethodPatch, "/systems/"+id, `{"name":"Other"}`, "If-Match: *").problem(CodeForbidden)
	w.signedIn(w.north, store.RoleMonitoring).do(http.MethodPut, path, `{}`).problem(CodeForbidden)
	if all := read[SystemList](owner.do(http.MethodGet, "/systems", "").want(http.StatusOK)).Items; all[0].MaintenanceUntil == nil {
		t.Error("the list does not have it")
	}
	owner.save("0000000002", "Two")
	for want, query := range map[string]string{"One": "paid", "Two": "over"} {
		if all := read[SystemList](owner.do(http.MethodGet, "/systems?maintenance="+query, "").want(http.StatusOK)).Items; len(all) != 1 || all[0].Name != want {
			t.Errorf("%s: %+v", query, all)
		}
	}
	if s := read[System](clerk.do(http.MethodPut, path, `{}`).want(http.StatusOK)); s.MaintenanceUntil != nil {
		t.Errorf("%v", s.MaintenanceUntil)
	}
}
