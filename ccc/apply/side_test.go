package apply

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// thing is what a kind for the test has: as the file has it, and with an id as it is there.
type thing struct{ id, name, value string }

// shelf is all that is there.
type shelf struct {
	things []thing
	made   int
}

func (s *shelf) side(want Kind[thing], alike bool) side[thing, thing] {
	v := side[thing, thing]{
		kind: "thing", want: want, have: slices.Clone(s.things), alike: alike,
		name: func(t thing) string { return t.name }, called: func(t thing) string { return t.name }, id: func(t thing) string { return t.id },
		about:  func(t thing) string { return t.value },
		fields: func(t thing) []Field { return differ("value", "", t.value) },
		differs: func(t, e thing) []Field {
			return append(differ("name", e.name, t.name), differ("value", e.value, t.value)...)
		},
		create: func(t thing) step {
			return does(func(context.Context) error {
				s.made++
				s.things = append(s.things, thing{fmt.Sprint("id", s.made), t.name, t.value})
				return nil
			})
		},
		remove: func(e thing) step {
			return does(func(context.Context) error {
				s.things = slices.DeleteFunc(s.things, func(t thing) bool { return t == e })
				return nil
			})
		},
	}
	v.modify = func(t, e thing) step {
		return does(func(context.Context) error {
			for i := range s.things {
				if s.things[i] == e {
					s.things[i].name, s.things[i].value = t.name, t.value
				}
			}
			return nil
		})
	}
	if !alike {
		v.asked = func(t thing) string { return t.id }
	}
	return v
}

// TestSides: whatever there is and whatever the file says, after it was applied there is
// nothing more to do; or it is said which things it could mean, and nothing is done.
// Without prune nothing is gone, and what the file means by its id keeps that.
func TestSides(t *testing.T) {
	t.Parallel()
	applied, refused := 0, 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // of a test
		alike := r.IntN(2) == 0
		pick := func(all ...string) string { return all[r.IntN(len(all))] }
		s := &shelf{}
		for range r.IntN(5) {
			s.made++
			s.things = append(s.things, thing{fmt.Sprint("id", s.made), pick("a", "b"), pick("x", "y", "z")})
		}
		want := Kind[thing]{Prune: r.IntN(2) == 0}
		for range r.IntN(4) {
			v := thing{"", pick("a", "b", "c"), pick("x", "y", "z")}
			if !alike && len(s.things) > 0 && r.IntN(2) == 0 {
				v.id = s.things[r.IntN(len(s.things))].id
			}
			twice := func(o thing) bool { // as check refuses it
				if alike {
					return o == v
				}
				return o.id == v.id && (o.id != "" || o.name == v.name)
			}
			if !slices.ContainsFunc(want.Items, twice) {
				want.Items = append(want.Items, v)
			}
		}
		before := slices.Clone(s.things)
		first, last, err := s.side(want, alike).changes()
		if err != nil {
			refused++
			if !errors.Is(err, ErrAmbiguous) || strings.Count(err.Error(), " (") < 2 {
				t.Fatalf("seed %d: %v", seed, err)
			}
			continue
		}
		applied++
		for _, c := range append(first, last...) {
			if _, err := c.do(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		again, gone, err := s.side(want, alike).changes()
		if err != nil || len(again)+len(gone) > 0 {
			t.Fatalf("seed %d: there was %v, the file says %+v, there is %v, and then %v %v, %v", seed, before, want, s.things, again, gone, err)
		}
		for _, v := range want.Items {
			if !slices.ContainsFunc(s.things, func(e thing) bool { return e.name == v.name && e.value == v.value && (v.id == "" || e.id == v.id) }) {
				t.Fatalf("seed %d: there was %v, and of %+v there is %v", seed, before, want, s.things)
			}
		}
		for _, e := range before {
			if there := slices.ContainsFunc(s.things, func(t thing) bool { return t.id == e.id }); !there && !want.Prune {
				t.Fatalf("seed %d: %v is gone", seed, e)
			}
		}
		if want.Prune && len(s.things) != len(want.Items) {
			t.Fatalf("seed %d: of %+v there is %v", seed, want, s.things)
		}
	}
	if applied < 1000 || refused < 100 {
		t.Errorf("%d applied, %d refused", applied, refused)
	}
}

// TestSidesNameWhatTheyMean: an error has the ids, and what tells the things apart.
func TestSidesNameWhatTheyMean(t *testing.T) {
	t.Parallel()
	s := &shelf{things: []thing{{"id1", "a", "x"}, {"id2", "a", "y"}}}
	_, _, err := s.side(Kind[thing]{Items: []thing{{"", "a", "z"}}}, false).changes()
	if !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), `thing "a": the file does not say which one it means: there are id1 (x) and id2 (y)`) {
		t.Errorf("got %v", err)
	}
	_, last, err := s.side(Kind[thing]{Prune: true, Items: []thing{{"id2", "a", "y"}}}, false).changes()
	if err != nil || len(last) != 1 || last[0].ID != "id1" {
		t.Errorf("got %v, %v", last, err)
	}
	if text := (&Plan{Changes: last}).String(); !strings.Contains(text, `- thing "a" id1`) {
		t.Errorf("the plan is %s", text)
	}
	if _, _, err := s.side(Kind[thing]{Items: []thing{{"id3", "a", "y"}}}, false).changes(); err == nil || !strings.Contains(err.Error(), `"id3"`) {
		t.Errorf("got %v", err)
	}
	// Another thing with the same name is not the one that the plan was about.
	other := []Change{{Kind: "thing", Name: "a", ID: "id9", Action: Delete}}
	if same(&Plan{Changes: last}, &Plan{Changes: other}) || !same(&Plan{Changes: last}, &Plan{Changes: last}) {
		t.Error("two things are one")
	}
}
