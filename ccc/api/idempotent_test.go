package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestRequestHashIsKeyed: what is kept of a request with a password is nothing to try
// guesses against.
func TestRequestHashIsKeyed(t *testing.T) {
	t.Parallel()
	ring := func() *API {
		keys, err := seal.New(seal.NewKey())
		if err != nil {
			t.Fatal(err)
		}
		return &API{cfg: Config{Keys: keys}}
	}
	hash := func(a *API, user store.UserID, key, what, password string) []byte {
		t.Helper()
		v, err := a.requestHash(user, key, what, map[string]string{"password": password})
		if err != nil || len(v) != sha256.Size {
			t.Fatalf("%x, %v", v, err)
		}
		return v
	}
	a := ring()
	kept := hash(a, "u", "k", "createUser", "x")
	if !bytes.Equal(kept, hash(a, "u", "k", "createUser", "x")) {
		t.Error("a repeat is another request")
	}
	text, err := json.Marshal(map[string]string{"password": "x"})
	if err != nil {
		t.Fatal(err)
	}
	plain := sha256.Sum256(append([]byte("createUser\n"), text...))
	for name, other := range map[string][]byte{
		"the plain hash": plain[:], "with another key of the server": hash(ring(), "u", "k", "createUser", "x"),
		"of another user": hash(a, "v", "k", "createUser", "x"), "of another key": hash(a, "u", "l", "createUser", "x"),
		"of another operation": hash(a, "u", "k", "createTenant", "x"), "with another password": hash(a, "u", "k", "createUser", "y"),
	} {
		if bytes.Equal(kept, other) {
			t.Errorf("it is the same %s", name)
		}
	}
}

// TestKeptRequest: the store has the keyed hash, and not the plain one.
func TestKeptRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	c.do(http.MethodPost, "/groups", `{"name":"x"}`, "Idempotency-Key: key-number-1").want(http.StatusCreated)
	if what, body := "createGroup", []byte(`{"name":"x"}`); !w.keptRequest(t, c.user.ID, "key-number-1", w.api.cfg.Keys.MAC("api idempotent request", sealID(c.user.ID, "key-number-1"), append([]byte(what+"\n"), body...))) {
		t.Error("positive control: it is not the keyed hash")
	} else if plain := sha256.Sum256(append([]byte(what+"\n"), body...)); w.keptRequest(t, c.user.ID, "key-number-1", plain[:]) {
		t.Error("it is the plain hash")
	}
}

// keptRequest tells whether this is what is kept of a request.
func (w *world) keptRequest(t *testing.T, user store.UserID, key string, request []byte) bool {
	t.Helper()
	var done *store.Response
	err := w.db.Update(t.Context(), func(tx *store.Tx) (err error) {
		done, err = tx.BeginIdempotent(user, key, request, time.Now())
		return err
	})
	return err == nil && done != nil
}
