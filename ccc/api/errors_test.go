package api

import (
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestErrorTableIsComplete holds errors.md against the codes: each is there once, with its
// status, and no other is.
func TestErrorTableIsComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("errors.md")
	if err != nil {
		t.Fatal(err)
	}
	first, second, ok := strings.Cut(string(text), "Each entry of `errors`")
	if !ok {
		t.Fatal("errors.md has no part about fields")
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d+) \\|").FindAllStringSubmatch(first, -1)
	var documented []Code
	for _, r := range rows {
		code := Code(r[1])
		documented = append(documented, code)
		if want := strconv.Itoa(codes[code].status); r[2] != want {
			t.Errorf("%s: errors.md says %s, it is %s", code, r[2], want)
		}
	}
	slices.Sort(documented)
	if want := slices.Sorted(maps.Keys(codes)); !slices.Equal(documented, want) {
		t.Errorf("errors.md has\n%v, the codes are\n%v", documented, want)
	}
	var fields []FieldCode
	for _, r := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(second, -1) {
		fields = append(fields, FieldCode(r[1]))
	}
	want := strings.Split("required,unknown,type,too_short,too_long,too_many,duplicate,pattern,enum,range,reference,weak,invalid", ",")
	if len(fields) != len(want) {
		t.Errorf("errors.md has the fields' codes %v, want %v", fields, want)
	}
	for i, f := range fields {
		if string(f) != want[i] {
			t.Errorf("errors.md has the field's code %s, want %s", f, want[i])
		}
	}
}

func TestCodesHaveStatusAndTitle(t *testing.T) {
	t.Parallel()
	for code, c := range codes {
		if http.StatusText(c.status) == "" || c.status < 400 || c.title == "" {
			t.Errorf("%s: status %d, title %q", code, c.status, c.title)
		}
		if p := problem(code, ""); p.Status != c.status || p.Title != c.title || p.Code != code {
			t.Errorf("%s: %+v", code, p)
		}
	}
}
