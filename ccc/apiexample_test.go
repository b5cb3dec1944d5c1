package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/client"
)

// TestExamplesCanBeRun: examples in help texts have values that the control centre takes,
// and not marks for them, which would become names of things; what stands for one's own is
// in capitals, or an id.
func TestExamplesCanBeRun(t *testing.T) {
	t.Parallel()
	objects := 0
	for _, op := range client.Operations() {
		if _, done := byHand[op.ID]; done {
			continue
		}
		for _, f := range op.Body {
			if !f.Required || secretField(f) {
				continue
			}
			v := strings.Trim(exampleValue(f), "'")
			if strings.Contains(v, "…") && !strings.HasSuffix(f.Name, "_id") || v == "" {
				t.Errorf("%s: the example of %s is %q", op.ID, f.Name, v)
			}
			if f.Type == "object" && !isRole(f) {
				if objects++; !json.Valid([]byte(v)) {
					t.Errorf("%s: the example of %s is no JSON: %s", op.ID, f.Name, v)
				}
			}
		}
	}
	if objects < 5 {
		t.Errorf("only %d examples are objects", objects)
	}
	root := newApp().Command
	for _, words := range []string{"break-glass list", "default-filter set", "invited-tenants add", "rollouts add"} {
		c, rest, err := root.Find(strings.Fields(words))
		if err != nil || len(rest) > 0 || !strings.HasPrefix(c.Example, "  ccc "+words) {
			t.Errorf("there is no command %s: %v, %v", words, c, err)
		}
		if words == "rollouts add" && !strings.Contains(c.Example, "--system-ids 0123456789") {
			t.Errorf("the example is %s", c.Example)
		}
	}
}
