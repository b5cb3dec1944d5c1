package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// within is shorter than a session of nobody who does something.
const within = 5 * time.Minute

func soon(o *options) { o.api.Audit.RepeatsWithin = within }

// TestRefusalsDoNotFillTheLog: of a flood of the same refusal the first has an entry at
// once, and the others one with their number; what is done meanwhile has its own.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c, other := w.in(w.north, ""), w.in(w.north, "")
		owner := w.in(w.north, store.RoleOwner)
		said := func() (all []string) {
			for _, e := range w.log(w.north) {
				if e.Operation == "removeGroup" || e.Operation == "createGroup" {
					all = append(all, fmt.Sprint(e.Operation, " ", e.Resource, " ", e.Outcome, " ", e.Repeats, " ", e.User == string(c.user.ID)))
				}
			}
			return all
		}
		same := func(what string, want ...string) {
			t.Helper()
			if got := said(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		const flood = 200
		for range flood {
			c.do(http.MethodDelete, "/groups/x", "").problem(CodeForbidden)
		}
		first := []string{"removeGroup group x refused:forbidden 0 true"}
		same("after the flood", first...)
		// Control: another thing, another person, and what is done.
		c.do(http.MethodDelete, "/groups/y", "").problem(CodeForbidden)
		other.do(http.MethodDelete, "/groups/x", "").problem(CodeForbidden)
		for i := range 5 {
			owner.do(http.MethodPost, "/groups", fmt.Sprintf(`{"name":"G%d"}`, i)).want(http.StatusCreated)
		}
		if got := said(); len(got) != 3+5 || got[1] != "removeGroup group y refused:forbidden 0 true" || got[2] != "removeGroup group x refused:forbidden 0 false" {
			t.Errorf("control: %q", got)
		}
		before := said()
		time.Sleep(within + 2*time.Minute)
		same("later", append(before, fmt.Sprintf("removeGroup group x refused:forbidden %d true", flood-1))...)
		// Then all begins again.
		before = said()
		c.do(http.MethodDelete, "/groups/x", "").problem(CodeForbidden)
		same("after that", append(before, first...)...)
	}, noLimits, soon)
}

// Who tries one thing after the other fills the log neither.
func TestManyRefusalsDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c := w.in(w.north, "")
		const most, flood = 50, 300
		begun := len(w.log(w.north))
		for i := range flood {
			c.do(http.MethodDelete, fmt.Sprintf("/groups/g%d", i), "").problem(CodeForbidden)
		}
		all := w.log(w.north)[begun:]
		if len(all) != most+1 || all[0].Resource != "group g0" || all[most-1].Resource != fmt.Sprintf("group g%d", most-1) || all[most].Resource != fmt.Sprintf("group g%d", most) {
			t.Fatalf("%d entries, the last one %+v", len(all), all[len(all)-1])
		}
		time.Sleep(within + 2*time.Minute)
		all = w.log(w.north)[begun:]
		if last := all[len(all)-1]; len(all) != most+2 || last.Repeats != flood-most-1 || last.Resource != "group" {
			t.Errorf("%d entries, the last one %+v", len(all), last)
		}
	}, noLimits, soon)
}

// The number that was counted is written when the program ends, and what cannot be written
// is not forgotten.
func TestRepeatsAreWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	r := newRepeats(time.Hour, 2)
	now := time.Now()
	act := func() *store.Act {
		return &store.Act{Tenant: "t", Actor: "user u", User: "u", Home: "t", Right: "home", Operation: "x", Access: func() string { return "1234567890123456" }}
	}
	refused := audit.Refused("forbidden")
	if r.counted(act(), refused, now) {
		t.Error("the first is only counted")
	}
	r.lost(act(), refused)
	if r.counted(act(), refused, now) {
		t.Error("the first that can be written is only counted")
	}
	for range 3 {
		if !r.counted(act(), refused, now) {
			t.Error("another is not counted")
		}
	}
	r.lost(act(), refused) // of an entry that is there
	if len(r.take(now.Add(time.Minute), false)) != 0 {
		t.Error("before the time is over")
	}
	all := r.take(now.Add(time.Minute), true)
	if len(all) != 1 || all[0].times != 3 || all[0].outcome != refused || all[0].access != "1234567890123456" {
		t.Errorf("at the end: %+v", all)
	}
	nobody := &store.Act{Tenant: "t", Operation: "signIn"}
	unknown := newRepeats(time.Hour, 2)
	for range 2 {
		if r.counted(act(), refused, now) {
			t.Error("after the end somebody is only counted, whom nobody adds")
		}
		if unknown.counted(nobody, refused, now) {
			t.Error("who is not known is counted")
		}
	}
}

// Of older heads one a day is left.
func TestHeadsAreThinned(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		heads := func() (all []store.AuditHead) {
			w.must(w.db.View(context.Background(), func(tx *store.Tx) (err error) {
				all, err = tx.AuditHeads(w.north)
				return err
			}))
			return all
		}
		const made = 6 // from 0:00 to 18:00 of a day
		for range made {
			w.update(func(tx *store.Tx) error {
				return tx.AddEvent(store.Event{Tenant: w.north, Kind: "changed", At: time.Now()})
			})
			time.Sleep(3 * time.Hour)
		}
		before := heads()
		if len(before) != made {
			t.Fatalf("control: %d heads", len(before))
		}
		time.Sleep(32 * time.Hour) // it is looked each day
		if after := heads(); len(after) != 1 || after[0].Seq != before[made-1].Seq {
			t.Errorf("of that day are left %+v", after)
		}
	}, noLimits, func(o *options) { o.api.Audit.Heads = 24 * time.Hour })
}
