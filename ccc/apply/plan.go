package apply

import (
	"bytes"
	"context"
	"encoding/json"
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
	ID     string  `json:"id,omitempty"` // of what is there
	Action Action  `json:"action"`
	Fields []Field `json:"fields,omitempty"`

	several bool // others have the name, too
	do      step
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
		fmt.Fprintf(&out, "%s %s %q", signs[c.Action], c.Kind, c.Name)
		if c.several {
			out.WriteString(" " + c.ID)
		}
		out.WriteString("\n")
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

// same tells whether two plans do the same to the same things, and not to others that
// have got their names meanwhile.
func same(a, b *Plan) bool {
	one, err1 := json.Marshal(a.Changes)
	other, err2 := json.Marshal(b.Changes)
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}

var (
	// ErrChanged: somebody else has changed something since the plan was made.
	ErrChanged = errors.New("something has changed since the plan was made; nothing was done")
	// ErrAmbiguous: several things could be the one that the file means.
	ErrAmbiguous = errors.New("the file does not say which one it means")
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

// differ gives a field where its values are not the same.
func differ(name, old, fresh string) []Field {
	if old == fresh {
		return nil
	}
	return []Field{{name, old, fresh}}
}
