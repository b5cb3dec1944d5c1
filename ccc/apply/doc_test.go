package apply

import (
	"os"
	"strings"
	"testing"
)

// TestExampleOfTheManual: the file in the package's doc is one, with each kind there is.
func TestExampleOfTheManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "//\tversion: 1\n")
	var file strings.Builder
	file.WriteString("version: 1\n")
	for line := range strings.Lines(rest) {
		line, part := strings.CutPrefix(line, "//\t")
		if !part {
			break
		}
		file.WriteString(line)
	}
	f, err := Parse([]byte(file.String()))
	if !found || err != nil {
		t.Fatalf("%v in\n%s", err, file.String())
	}
	for kind, n := range map[string]int{
		"sites": len(f.Sites.Items), "groups": len(f.Groups.Items), "users": len(f.Users.Items), "grants": len(f.Grants.Items),
		"filters": len(f.Filters.Items), "templates": len(f.Templates.Items), "webhooks": len(f.Webhooks.Items),
	} {
		if n == 0 {
			t.Errorf("it has no %s", kind)
		}
	}
	m := &maker{}
	for _, v := range f.Filters.Items {
		if _, err := m.filterFields(v); err != nil {
			t.Error(err)
		}
	}
}
