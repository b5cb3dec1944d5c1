package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// step is what is done for one thing.
type step = func(context.Context) (secret string, err error)

// side is how things of one kind are compared and made.
type side[T, E any] struct {
	kind    string
	want    Kind[T]
	have    []E
	name    func(T) string
	called  func(E) string
	id      func(E) string
	fields  func(T) []Field    // of a new one
	differs func(T, E) []Field // empty: it is as it is to be
	create  func(T) step
	modify  func(T, E) step
	remove  func(E) step

	// asked gives the id that the file names; nil: it names none.
	asked func(T) string
	// about says what tells one from others of its name; nil: no others can be.
	about func(E) string
	// alike: of those with one name nothing counts but what the file says of them.
	alike bool
	// hint says how somebody makes the file say which one it means.
	hint string
}

// match finds for what is wanted what is there already. Both are by index; of what is
// there each is taken once at most.
func (s side[T, E]) match() (of map[int]int, err error) {
	of = map[int]int{}
	taken := make([]bool, len(s.have))
	pair := func(i, j int) { of[i], taken[j] = j, true }
	wanted, there := map[string][]int{}, map[string][]int{} // by name
	for i, t := range s.want.Items {
		if s.asked == nil || s.asked(t) == "" {
			wanted[s.name(t)] = append(wanted[s.name(t)], i)
			continue
		}
		j := slices.IndexFunc(s.have, func(e E) bool { return s.id(e) == s.asked(t) })
		if j < 0 {
			return nil, fmt.Errorf("%s %q: there is none with the id %q", s.kind, s.name(t), s.asked(t))
		}
		pair(i, j)
	}
	for j, e := range s.have {
		if !taken[j] {
			there[s.called(e)] = append(there[s.called(e)], j)
		}
	}
	for i, t := range s.want.Items {
		name := s.name(t)
		if !slices.Contains(wanted[name], i) {
			continue // it is done
		}
		want, have := wanted[name], there[name]
		delete(wanted, name)
		if s.alike {
			want, have = s.exact(want, have, pair)
		}
		if len(want) > 0 && len(have) > len(want) && (!s.alike || !s.want.Prune) {
			return nil, s.ambiguous(name, have)
		}
		for n := range min(len(want), len(have)) {
			pair(want[n], have[n])
		}
	}
	return of, nil
}

// exact pairs what is as it is to be, and gives the rest.
func (s side[T, E]) exact(want, have []int, pair func(i, j int)) (restWanted, restThere []int) {
	for _, i := range want {
		at := slices.IndexFunc(have, func(j int) bool { return len(s.differs(s.want.Items[i], s.have[j])) == 0 })
		if at < 0 {
			restWanted = append(restWanted, i)
			continue
		}
		pair(i, have[at])
		have = slices.Delete(slices.Clone(have), at, at+1)
	}
	return restWanted, have
}

func (s side[T, E]) ambiguous(name string, have []int) error {
	all := make([]string, len(have))
	for i, j := range have {
		if all[i] = s.id(s.have[j]); s.about != nil {
			all[i] += " (" + s.about(s.have[j]) + ")"
		}
	}
	return fmt.Errorf("%s %q: %w: there are %s%s", s.kind, name, ErrAmbiguous, strings.Join(all, " and "), s.hint)
}

// changes gives what is to be done: deletions apart, which come last.
func (s side[T, E]) changes() (first, last []Change, err error) {
	of, err := s.match()
	if err != nil {
		return nil, nil, err
	}
	count := map[string]int{}
	for _, e := range s.have {
		count[s.called(e)]++
	}
	kept := map[int]bool{}
	for i, t := range s.want.Items {
		j, there := of[i]
		if !there {
			if s.create == nil {
				return nil, nil, fmt.Errorf("%s %q: is not there", s.kind, s.name(t))
			}
			first = append(first, Change{Kind: s.kind, Name: s.name(t), Action: Create, Fields: s.fields(t), do: s.create(t)})
			continue
		}
		e := s.have[j]
		kept[j] = true
		if fields := s.differs(t, e); len(fields) > 0 {
			first = append(first, Change{Kind: s.kind, Name: s.called(e), ID: s.id(e), Action: Modify, Fields: fields, several: count[s.called(e)] > 1, do: s.modify(t, e)})
		}
	}
	if !s.want.Prune {
		return first, nil, nil
	}
	for j, e := range s.have {
		if !kept[j] {
			last = append(last, Change{Kind: s.kind, Name: s.called(e), ID: s.id(e), Action: Delete, several: count[s.called(e)] > 1, do: s.remove(e)})
		}
	}
	return first, last, nil
}
