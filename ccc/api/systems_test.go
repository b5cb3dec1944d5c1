package api

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func (c *client) list(query string) SystemList {
	c.w.t.Helper()
	return read[SystemList](c.do(http.MethodGet, "/systems?"+query, "").want(http.StatusOK))
}

func namesOf(l SystemList) string {
	all := make([]string, len(l.Items))
	for i, s := range l.Items {
		all[i] = s.Name
	}
	return strings.Join(all, " ")
}

// TestASystem follows one through what people do with it.
func TestASystem(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		group := read[Group](c.do(http.MethodPost, "/groups", `{"name":"Berlin"}`).want(http.StatusCreated))
		a := c.do(http.MethodPost, "/systems", `{"serial":"0000000001","name":"Office","note":"2nd floor","tags":["a","b"],"groups":["`+group.ID+`"]}`)
		made := read[SystemOffer](a.want(http.StatusCreated))
		s, o := made.System, made.Offer
		if s.Serial != "0000000001" || s.Name != "Office" || s.Note != "2nd floor" || s.State != store.StateOffered || s.Version != 1 ||
			!slices.Equal(s.Tags, []string{"a", "b"}) || !slices.Equal(s.Groups, []Group{group}) || s.Online || s.Epoch != "0" {
			t.Errorf("system %+v", s)
		}
		if len(o.Token) != 14 || o.QR != "CCC1:"+o.ID+":"+o.Token || len(o.Code) != 7 || o.State != "open" || o.ExpiresAt.Sub(o.CreatedAt) != 24*time.Hour {
			t.Errorf("offer %+v", o)
		}
		if want := Prefix + "/systems/" + s.ID; a.header.Get("Location") != want {
			t.Errorf("Location %s, want %s", a.header.Get("Location"), want)
		}
		if seen := read[Offer](c.do(http.MethodGet, "/systems/"+s.ID+"/offer", "").want(http.StatusOK)); seen != o {
			t.Errorf("seen again: %+v", seen)
		}

		got := c.do(http.MethodGet, "/systems/"+s.ID, "").want(http.StatusOK)
		if got.header.Get("ETag") != `"1"` {
			t.Errorf("ETag %s", got.header.Get("ETag"))
		}
		changed := c.do(http.MethodPatch, "/systems/"+s.ID, `{"name":"Lobby","tags":[]}`, `If-Match: "1"`).want(http.StatusOK)
		now := read[System](changed)
		if changed.header.Get("ETag") != `"2"` || now.Name != "Lobby" || now.Note != "2nd floor" || len(now.Tags) != 0 || len(now.Groups) != 1 {
			t.Errorf("changed: %s %+v", changed.header.Get("ETag"), now)
		}
		// Who was slower learns it, and changes nothing.
		for _, version := range []string{`"1"`, `"3"`, `W/"2"`, "2", `"two"`} {
			c.do(http.MethodPatch, "/systems/"+s.ID, `{"name":"Lost"}`, "If-Match: "+version).problem(CodeVersion)
		}
		c.do(http.MethodPatch, "/systems/"+s.ID, `{"note":""}`, "If-Match: *").want(http.StatusOK)
		c.do(http.MethodPatch, "/systems/"+s.ID, `{}`, "If-Match: *").problem(CodeInvalid)

		renewed := read[Offer](c.do(http.MethodPost, "/systems/"+s.ID+"/offer", "").want(http.StatusCreated))
		if renewed.ID == o.ID || renewed.Token == o.Token {
			t.Error("the new offer is the old one")
		}
		c.do(http.MethodDelete, "/systems/"+s.ID+"/offer", "").want(http.StatusNoContent)
		c.do(http.MethodGet, "/systems/"+s.ID+"/offer", "").problem(CodeNotFound)
		if s := read[System](c.do(http.MethodGet, "/systems/"+s.ID, "")); s.State != store.StateExpired {
			t.Errorf("after the offer was withdrawn: %s", s.State)
		}

		events := read[EventList](c.do(http.MethodGet, "/systems/"+s.ID+"/events", "").want(http.StatusOK))
		kinds := make([]string, len(events.Items))
		for i, e := range events.Items {
			kinds[i] = e.Kind
			if e.Actor == nil || e.Actor.ID != string(c.user.ID) || e.Actor.Name != c.user.Name {
				t.Errorf("actor of %s: %+v", e.Kind, e.Actor)
			}
		}
		want := []string{pairing.EventWithdrawn, pairing.EventOffered, pairing.EventChanged, pairing.EventChanged, pairing.EventOffered}
		if !slices.Equal(kinds, want) {
			t.Errorf("events %v, want %v", kinds, want)
		}
		first := read[EventList](c.do(http.MethodGet, "/systems/"+s.ID+"/events?limit=2", ""))
		rest := read[EventList](c.do(http.MethodGet, "/systems/"+s.ID+"/events?limit=9&cursor="+first.Next, ""))
		if len(first.Items) != 2 || first.Next == "" || len(rest.Items) != 3 || rest.Next != "" || rest.Items[0].ID != events.Items[2].ID {
			t.Errorf("pages of %d and %d events", len(first.Items), len(rest.Items))
		}

		c.do(http.MethodDelete, "/systems/"+s.ID, "").want(http.StatusNoContent)
		c.do(http.MethodGet, "/systems/"+s.ID, "").problem(CodeNotFound)
		if l := c.list(""); l.Total != 0 || l.Items == nil {
			t.Errorf("after the removal: %+v", l)
		}
		// Its serial can be saved again.
		c.save("0000000001", "Again")
	})
}

func TestReplacement(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		s := c.scene()
		made := read[SystemOffer](c.do(http.MethodPost, "/systems/"+s.paired+"/replacement", `{"serial":"0000000003"}`).want(http.StatusCreated))
		if made.System.Name != "Two" || made.System.Replaces != s.paired || made.Offer.Token == "" {
			t.Errorf("replacement %+v", made)
		}
		c.do(http.MethodPost, "/systems/"+s.paired+"/replacement", `{"serial":"0000000002"}`).problem(CodeSerialTaken) // itself
		c.do(http.MethodPost, "/systems/"+s.paired+"/replacement", `{"serial":"0000000001"}`).problem(CodeSerialTaken)
		c.do(http.MethodPost, "/systems/"+s.offered+"/replacement", `{"serial":"0000000004"}`).problem(CodeState)
	})
}

func TestGroupsAndTags(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleAdministrator)
		for _, path := range []string{"/groups", "/tags"} {
			if a := c.do(http.MethodGet, path, "").want(http.StatusOK); string(a.body) != `{"items":[]}`+"\n" {
				t.Errorf("%s: %s", path, a.body)
			}
		}
		for _, name := range []string{"Zürich", "Aachen"} {
			c.do(http.MethodPost, "/groups", `{"name":"`+name+`"}`).want(http.StatusCreated)
		}
		groups := read[GroupList](c.do(http.MethodGet, "/groups", "")).Items
		if len(groups) != 2 || groups[0].Name != "Aachen" {
			t.Fatalf("groups %+v", groups)
		}
		c.do(http.MethodPost, "/systems", `{"serial":"0000000001","name":"One","tags":["x","y"],"groups":["`+groups[0].ID+`"]}`).want(http.StatusCreated)
		c.do(http.MethodPost, "/systems", `{"serial":"0000000002","name":"Two","tags":["x"]}`).want(http.StatusCreated)
		if tags := read[TagList](c.do(http.MethodGet, "/tags", "")).Items; !slices.Equal(tags, []Tag{{"x", 2}, {"y", 1}}) {
			t.Errorf("tags %v", tags)
		}
		for query, want := range map[string]string{
			"group=" + groups[0].ID: "One", "group=" + groups[1].ID: "", "group=none": "", "group=%00": "",
			"tag=x&tag=y": "One", "tag=x": "One Two", "q=two": "Two", "q=0000000001": "One", "state=offered&state=left": "One Two", "state=left": "",
			"sort=-name": "Two One", "sort=created_at": "One Two", "sort=-created_at": "Two One", "sort=-last_seen_at": "Two One", "sort=state_since": "One Two",
		} {
			if l := c.list(query); namesOf(l) != want || l.Total != len(l.Items) {
				t.Errorf("%s: got %q of %d, want %q", query, namesOf(l), l.Total, want)
			}
		}
		// A group goes, its systems stay.
		c.do(http.MethodDelete, "/groups/"+groups[0].ID, "").want(http.StatusNoContent)
		if l := c.list(""); l.Total != 2 || len(l.Items[0].Groups) != 0 {
			t.Errorf("after the group is gone: %+v", l)
		}
	})
}

// TestGroupsAreLimited: as many as there may be, and no more.
func TestGroupsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	w.update(func(tx *store.Tx) error {
		for i := range store.MaxGroups - 1 {
			g := store.Group{ID: store.NewID[store.GroupID](), Tenant: w.north, Name: fmt.Sprint("Group ", i), Created: time.Now()}
			if err := tx.CreateGroup(g); err != nil {
				return err
			}
		}
		return nil
	})
	c.do(http.MethodPost, "/groups", `{"name":"the last"}`).want(http.StatusCreated)
	p := c.do(http.MethodPost, "/groups", `{"name":"one more"}`).problem(CodeInvalid)
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.name" || p.Errors[0].Code != FieldTooMany {
		t.Errorf("one more: %+v", p)
	}
}

// TestPagesAreStable reads pages while systems come and go: each that is there all the time is
// seen exactly once.
func TestPagesAreStable(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		const n = 25
		for i := range n {
			c.save(fmt.Sprintf("00000000%02d", i), fmt.Sprintf("PBX %d", i))
		}
		seen := map[string]int{}
		order := []string{}
		for cursor, page := "", 0; page == 0 || cursor != ""; page++ {
			l := c.list("limit=4&cursor=" + url.QueryEscape(cursor))
			for _, s := range l.Items {
				seen[s.Name]++
				order = append(order, s.Name)
			}
			// One before, one after what was read.
			c.save(fmt.Sprintf("10000000%02d", page), fmt.Sprintf("A new %d", page))
			last := c.save(fmt.Sprintf("20000000%02d", page), fmt.Sprintf("Z new %d", page))
			if page%2 == 1 {
				c.do(http.MethodDelete, "/systems/"+last.System.ID, "").want(http.StatusNoContent)
			}
			if l.Total != n { // as it was when the first page was read
				t.Errorf("page %d: total %d", page, l.Total)
			}
			cursor = l.Next
		}
		for i := range n {
			if name := fmt.Sprintf("PBX %d", i); seen[name] != 1 {
				t.Errorf("%s was seen %d times", name, seen[name])
			}
		}
		if !slices.Contains(order, "PBX 9") || slices.Index(order, "PBX 9") > slices.Index(order, "PBX 10") {
			t.Errorf("the order is %v", order)
		}
	}, func(o *options) { o.limits.OffersPerHour = 1000 })
}

// TestPresenceIsForThePaired: whether a serial is online is told to the tenant that it is
// paired with, and to nobody else.
func TestPresenceIsForThePaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	north, south := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.south, store.RoleOwner)
	s := north.scene()
	other := south.save("0000000002", "Mine?")
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, serial := range []identity.Serial{"0000000001", "0000000002"} {
		w.fleet.all[serial] = fleet.Status{Online: true, Since: since, Transport: tunnel.QUIC, RTT: 12340 * time.Microsecond}
	}

	up := read[System](north.do(http.MethodGet, "/systems/"+s.paired, ""))
	if !up.Online || up.OnlineSince == nil || !up.OnlineSince.Equal(since) || up.Transport != "quic" || up.RTT == nil || *up.RTT != 12.3 {
		t.Errorf("paired: %+v", up)
	}
	for _, a := range []answer{
		north.do(http.MethodGet, "/systems/"+s.offered, ""), south.do(http.MethodGet, "/systems/"+other.System.ID, ""),
	} {
		if sys := read[System](a.want(http.StatusOK)); sys.Online || sys.OnlineSince != nil || sys.Transport != "" || sys.RTT != nil {
			t.Errorf("not paired: %+v", sys)
		}
	}
	for _, tt := range []struct {
		who   *client
		query string
		want  string
	}{
		{north, "online=true", "Two"}, {north, "online=false", "One"}, {south, "online=true", ""}, {south, "online=false", "Mine?"},
	} {
		if got := namesOf(tt.who.list(tt.query)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.query, got, tt.want)
		}
	}

	// Its relay is lost: nothing is known of it.
	w.fleet.set("0000000002", fleet.Status{Since: since, Reason: tunnel.CodeUnreachable})
	if lost := read[System](north.do(http.MethodGet, "/systems/"+s.paired, "")); lost.Online || !lost.Unclear {
		t.Errorf("relay lost: %+v", lost)
	}
}

// TestOnce sends requests with an idempotency key again: they are done once, and answered
// with the same bytes.
func TestOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		s := c.scene()
		for _, tt := range []struct{ path, body string }{
			{"/systems", `{"serial":"0000000005","name":"Five"}`},
			{"/systems/" + s.offered + "/offer", ""},
			{"/systems/" + s.paired + "/replacement", `{"serial":"0000000006"}`},
			{"/groups", `{"name":"Once"}`},
		} {
			key := "Idempotency-Key: key-of" + strings.ReplaceAll(tt.path, "/", "-")
			before := c.list("").Total
			first := c.do(http.MethodPost, tt.path, tt.body, key).want(http.StatusCreated)
			made := c.list("").Total
			again := c.do(http.MethodPost, tt.path, tt.body, key).want(http.StatusCreated)
			if string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%s: first %s, then %s", tt.path, first.body, again.body)
			}
			if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s: Idempotency-Replayed %q, then %q", tt.path, first.header.Get("Idempotency-Replayed"), again.header.Get("Idempotency-Replayed"))
			}
			if after := c.list("").Total; after != made {
				t.Errorf("%s: %d systems, then %d, then %d", tt.path, before, made, after)
			}
		}
		// Another request with the key is a mistake; another person's key is not the same.
		c.do(http.MethodPost, "/groups", `{"name":"Other"}`, "Idempotency-Key: key-of-groups").problem(CodeIdempotencyMismatch)
		c.do(http.MethodPost, "/systems/"+s.paired+"/offer", "", "Idempotency-Key: key-of-systems-"+s.offered+"-offer").problem(CodeIdempotencyMismatch)
		colleague := w.signedIn(w.north, store.RoleOwner)
		colleague.do(http.MethodPost, "/groups", `{"name":"Other"}`, "Idempotency-Key: key-of-groups").want(http.StatusCreated)

		// What has failed may be tried again with the same key.
		c.do(http.MethodPost, "/groups", `{"name":"Once"}`, "Idempotency-Key: key-number-2").problem(CodeConflict)
		groups := read[GroupList](c.do(http.MethodGet, "/groups", "")).Items
		for _, g := range groups {
			if g.Name == "Once" {
				c.do(http.MethodDelete, "/groups/"+g.ID, "").want(http.StatusNoContent)
			}
		}
		c.do(http.MethodPost, "/groups", `{"name":"Once"}`, "Idempotency-Key: key-number-2").want(http.StatusCreated)

		c.do(http.MethodPost, "/groups", `{"name":"x"}`, "Idempotency-Key: short").problem(CodeInvalid)
		c.do(http.MethodPost, "/groups", `{"name":"x"}`, "Idempotency-Key: has a space in it").problem(CodeInvalid)
	})
}

// TestOnceAtTheSameTime sends one request many times at once.
func TestOnceAtTheSameTime(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		const n = 20
		answers := make([]answer, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				answers[i] = c.do(http.MethodPost, "/systems", `{"serial":"0000000005","name":"Five"}`, "Idempotency-Key: key-number-1")
			})
		}
		wg.Wait()
		done := map[string]bool{}
		for _, a := range answers {
			if a.status == http.StatusCreated {
				done[string(a.body)] = true
				continue
			}
			a.problem(CodeIdempotencyBusy)
		}
		if len(done) != 1 || c.list("").Total != 1 {
			t.Errorf("%d answers, %d systems", len(done), c.list("").Total)
		}
	})
}

// TestKeptAnswersAreSealed: a token is not in the database in plain, also not where an
// answer with it is kept for repeats. What is not secret is there, as a control.
func TestKeptAnswersAreSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	key := "Idempotency-Key: key-number-1"
	made := read[SystemOffer](c.do(http.MethodPost, "/systems", `{"serial":"0000000005","name":"Canary-name"}`, key).want(http.StatusCreated))
	c.do(http.MethodPost, "/systems", `{"serial":"0000000005","name":"Canary-name"}`, key).want(http.StatusCreated)
	files, err := filepath.Glob(w.path + "*")
	w.must(err)
	var all []byte
	for _, f := range files {
		text, err := os.ReadFile(f)
		w.must(err)
		all = append(all, text...)
	}
	if !bytes.Contains(all, []byte("Canary-name")) || !bytes.Contains(all, []byte("key-number-1")) {
		t.Fatalf("%d bytes of %v do not have what is not secret", len(all), files)
	}
	plain := strings.ReplaceAll(made.Offer.Token, "-", "")
	for _, secret := range []string{made.Offer.Token, plain, made.Offer.QR} {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("the database has %s", secret)
		}
	}
}

// TestRateIsPerUser: who sends too much stops himself, not his colleagues.
func TestRateIsPerUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.api.Limits.Requests, o.api.Limits.Window = 8, time.Hour }).serve()
	busy, calm := w.signedIn(w.north, store.RoleMonitoring), w.signedIn(w.north, store.RoleMonitoring)
	for range 8 {
		busy.do(http.MethodGet, "/session", "").want(http.StatusOK)
	}
	busy.do(http.MethodGet, "/session", "").problem(CodeRateLimited)
	calm.do(http.MethodGet, "/session", "").want(http.StatusOK)
}

// TestRateOfANetwork: too much from one network is refused before the store is asked
// who sends it, at all listeners together.
func TestRateOfANetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.api.Limits.NetworkRequests, o.api.Limits.Window = 8, time.Hour }).serve()
	c := w.signedIn(w.north, store.RoleMonitoring) // the first request
	lookedUp := func(a answer) bool { return a.header.Get("Vary") != "" }
	for range 7 {
		if a := c.do(http.MethodGet, "/session", "").want(http.StatusOK); !lookedUp(a) {
			t.Error("it cannot be seen whether a session was looked up")
		}
	}
	other := httptest.NewServer(w.api.Handler()) // as of another listener
	defer other.Close()
	for range 2 {
		a := c.do(http.MethodGet, "/session", "")
		if a.problem(CodeRateLimited); lookedUp(a) {
			t.Error("the session was looked up")
		}
		w.url = other.URL
	}
}
