package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
)

// Action is what happens to a thing.
type Action string

// The actions.
const (
	Create Action = "create"
	Modify Action = "change"
	Delete Action = "delete"
)

// Field is one value that changes.
type Field struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Change is what happens to one thing.
type Change struct {
	Kind   string  `json:"kind"`
	Name   string  `json:"name"`
	Action Action  `json:"action"`
	Fields []Field `json:"fields,omitempty"`

	do func(context.Context) (secret string, err error)
}

// Plan is what makes a tenant be as a file says. Make it with [Make].
type Plan struct {
	Changes []Change `json:"changes"`

	client *client.Client
	file   File
}

// Empty tells whether nothing is to be done.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

var signs = map[Action]string{Create: "+", Modify: "~", Delete: "-"}

// String shows the plan: a line for each change, and one for each value.
func (p *Plan) String() string {
	if p.Empty() {
		return "Nothing is to be changed.\n"
	}
	var out strings.Builder
	count := map[Action]int{}
	for _, c := range p.Changes {
		count[c.Action]++
		fmt.Fprintf(&out, "%s %s %q\n", signs[c.Action], c.Kind, c.Name)
		for _, f := range c.Fields {
			value := or(f.New)
			if c.Action == Modify {
				value = or(f.Old) + " -> " + value
			}
			fmt.Fprintf(&out, "    %s: %s\n", f.Name, value)
		}
	}
	fmt.Fprintf(&out, "%d to create, %d to change, %d to delete.\n", count[Create], count[Modify], count[Delete])
	return out.String()
}

func or(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// same tells whether two plans do the same.
func same(a, b *Plan) bool { return a.String() == b.String() }

var (
	// ErrChanged: somebody else has changed something since the plan was made.
	ErrChanged = errors.New("something has changed since the plan was made; nothing was done")
	// ErrOwnRights: the file takes the right to apply it from the one who does.
	ErrOwnRights = errors.New("this would take your own right to do it away")
)

// Result is one change that was made.
type Result struct {
	Change
	// Secret is that of a new webhook, which is shown this once.
	Secret string `json:"secret,omitempty"`
}

// Apply makes the changes in their order, and tells of each. It stops at the first that
// fails; what was done before stays, and another plan goes on from there.
func (p *Plan) Apply(ctx context.Context, tell func(Result) error) error {
	now, err := Make(ctx, p.client, p.file)
	if err != nil {
		return err
	}
	if !same(p, now) {
		return ErrChanged
	}
	for i, c := range now.Changes {
		secret, err := c.do(ctx)
		if err != nil {
			return fmt.Errorf("%s %s %q, after %d of %d changes: %w", c.Action, c.Kind, c.Name, i, len(now.Changes), err)
		}
		if err := tell(Result{c, secret}); err != nil {
			return err
		}
	}
	return nil
}

// step is what is done for one thing.
type step = func(context.Context) (secret string, err error)

// side is how things of one kind are compared and made.
type side[T, E any] struct {
	kind    string
	want    Kind[T]
	have    []E
	name    func(T) string
	called  func(E) string
	fields  func(T) []Field    // of a new one
	differs func(T, E) []Field // empty: it is as it is to be
	create  func(T) step
	modify  func(T, E) step
	remove  func(E) step
}

// changes gives what is to be done: deletions apart, which come last.
func (s side[T, E]) changes() (first, last []Change, err error) {
	have := map[string]E{}
	for _, e := range s.have {
		have[s.called(e)] = e
	}
	wanted := map[string]bool{}
	for _, t := range s.want.Items {
		name := s.name(t)
		wanted[name] = true
		e, there := have[name]
		if !there {
			if s.create == nil {
				return nil, nil, fmt.Errorf("%s %q: is not there", s.kind, name)
			}
			first = append(first, Change{s.kind, name, Create, s.fields(t), s.create(t)})
			continue
		}
		if fields := s.differs(t, e); len(fields) > 0 {
			first = append(first, Change{s.kind, name, Modify, fields, s.modify(t, e)})
		}
	}
	if !s.want.Prune {
		return first, nil, nil
	}
	for _, e := range s.have {
		if name := s.called(e); !wanted[name] {
			last = append(last, Change{s.kind, name, Delete, nil, s.remove(e)})
		}
	}
	return first, last, nil
}

// differ gives a field where its values are not the same.
func differ(name, old, fresh string) []Field {
	if old == fresh {
		return nil
	}
	return []Field{{name, old, fresh}}
}
