package onboarding

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// faults gives what is wrong with a line: "12 serial pattern".
func faults(list List) (all []string) {
	for _, l := range list.Lines {
		for _, f := range l.Faults {
			text := fmt.Sprint(l.Number, " ", f.Column, " ", f.Code)
			if f.Other > 0 {
				text += fmt.Sprint(" ", f.Other)
			}
			all = append(all, text)
		}
	}
	return all
}

func TestParse(t *testing.T) {
	t.Parallel()
	want := List{
		Columns: []Column{Serial, Name, Note, Site, Groups, Tags}, Ignored: []string{},
		Lines: []Line{
			{Number: 2, Serial: "0123456789", Name: "Büro, \"oben\"", Note: "a\nb", Site: "Köln", Groups: []string{"A", "B"}, Tags: []string{"x", "y, z"}},
			{Number: 4, Serial: "0000000002", Name: "Zwei", Groups: []string{}, Tags: []string{}},
		},
	}
	rows := []string{
		`0123456789,"Büro, ""oben""","a` + "\n" + `b",Köln,"A, B",x|y\, z`, `00000-00 002,Zwei,,,,`,
	}
	text := strings.ReplaceAll("serial,name,note,site,groups,tags\n"+strings.Join(rows, "\n")+"\n", `\,`, ",")
	text = strings.Replace(text, "x|y, z", `"x|y, z"`, 1)
	for name, in := range map[string]string{
		"as it is":           text,
		"with a mark":        "\ufeff" + text,
		"with CRLF":          strings.ReplaceAll(text, "\n", "\r\n"),
		"without an end":     strings.TrimSuffix(text, "\n"),
		"with spaces":        strings.Replace(text, "serial,name", " Serial , NAME ", 1),
		"in German":          strings.Replace(text, "serial,name,note,site,groups,tags", "Seriennummer,Bezeichnung,Notiz,Standort,Gruppen,Schlagwörter", 1),
		"in French":          strings.Replace(text, "serial,name,note,site,groups,tags", "Numéro de série,Nom,Remarque,Emplacement,Groupes,Étiquettes", 1),
		"with an empty line": strings.TrimSuffix(text, "\n") + "\n,,,,,\n\n",
	} {
		got, err := Parse([]byte(in), 2)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, want)
		}
	}
}

func TestDividers(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"semicolons": "Name;Seriennummer\nEins, zwei;0000000001\n", "tabs": "name\tserial\nEins, zwei\t0000000001\n",
		"said before": "sep=;\r\nname;serial\r\nEins, zwei;0000000001\r\n", "commas": "name,serial\n\"Eins, zwei\",0000000001\n",
		"a tab said before": "sep=\t\r\nname\tserial\r\nEins, zwei\t0000000001\r\n",
		"with a mark":       "\ufeffsep=;\r\nname;serial\r\nEins, zwei;0000000001\r\n",
		"in quotes":         "\"sep=,\"\nname,serial\n\"Eins, zwei\",0000000001\n",
		"said, with others": "SEP=;\nname;Seriennummer;a,name,serial\nEins, zwei;0000000001\n",
		"of another kind":   "sep=|\nname;serial\nEins, zwei;0000000001\n",
	} {
		got, err := Parse([]byte(in), 1)
		number := 2
		if strings.Contains(strings.ToLower(in), "sep=") {
			number = 3
		}
		if err != nil || len(got.Lines) != 1 || got.Lines[0].Name != "Eins, zwei" || got.Lines[0].Serial != "0000000001" || got.Lines[0].Number != number {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each fault is named with its line and column, and the lines around it are read.
func TestFaults(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 101)
	lines := []string{
		"serial,name,note,site,groups,tags,colour", // 1
		"0000000001,One,,,,,red",
		"123456789,Nine digits",
		",No serial",
		"0000000002,",
		"0000000003," + long,
		"0000000004,Four,,,,\"" + strings.Repeat("x,", 19) + "a,b,c\"",
		"0000000005,Fi\"ve",
		"0000000001,One again",
		"0000000006,M\xfcller",
		"0000000007,Seven,,,," + strings.Repeat("t", 41),
		"0000000008,Eight\x07",
		"0000000009,Nine,,,a|a|b,",
		"0000000010,\"open",
	}
	got, err := Parse([]byte(strings.Join(lines, "\n")), 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"3 serial pattern", "4 serial required", "5 name required", "6 name too_long", "8  quotes", "9 serial duplicate 2",
		"10 name encoding", "11 tags too_long", "12 name pattern", "14  quotes",
	}
	if !slices.Equal(faults(got), want) {
		t.Errorf("got\n%q, want\n%q", faults(got), want)
	}
	if len(got.Lines) != 13 || !slices.Equal(got.Ignored, []string{"colour"}) || !slices.Equal(got.Lines[11].Groups, []string{"a", "b"}) || len(got.Lines[5].Tags) != 4 {
		t.Errorf("%d lines, left out %q, %+v", len(got.Lines), got.Ignored, got.Lines)
	}
	for _, l := range got.Lines {
		for _, f := range l.Faults {
			if f.Message == "" {
				t.Errorf("line %d: %+v says nothing", l.Number, f)
			}
		}
	}
	if many, err := Parse([]byte("serial,name,tags\n0000000001,x,\""+strings.Join(strings.Fields(strings.Repeat("t ", 1)), "")+"a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|u|v\""), 1); err != nil || !slices.Equal(faults(many), []string{"2 tags too_many"}) {
		t.Errorf("21 tags: %q, %v", faults(many), err)
	}
}

// TestOpenQuotes: a quotation mark that is not closed costs its own line and no other,
// whatever the marks of the lines after it make of it.
func TestOpenQuotes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines []string
		want  []string
	}{
		"to the end":                   {[]string{`0000000001,"One`, `0000000002,Two`, `0000000003,Three`}, []string{"2  quotes"}},
		"then a field with marks":      {[]string{`0000000001,"One`, `0000000002,Two`, `0000000003,"Three, or four"`}, []string{"2  quotes"}},
		"closed in another line":       {[]string{`0000000001,"One`, `0000000002,Two`, `0000000003,Three"`}, []string{"2  quotes", "4  quotes"}},
		"a serial with marks":          {[]string{`"0000000001,One`, `0000000002,Two`, `"0000000003",Three`}, []string{"2  quotes"}},
		"in each line":                 {[]string{`0000000001,"One`, `0000000002,"Two`, `0000000003,"Three`}, []string{"2  quotes", "3  quotes", "4  quotes"}},
		"control, a note with breaks":  {[]string{`0000000001,One,"a`, `0000000002,b`, `c"`, `0000000003,Three`}, nil},
		"control, a name with a break": {[]string{`0000000001,"One`, `and a half"`, `0000000002,Two`, `0000000003,Three`}, []string{"2 name pattern"}},
		"control, two stand for one":   {[]string{`0000000001,"""One"""`, `0000000002,Two`, `0000000003,Three`}, nil},
	} {
		got, err := Parse([]byte("serial,name,note\r\n"+strings.Join(c.lines, "\r\n")+"\r\n"), 10)
		if err != nil || !slices.Equal(faults(got), c.want) {
			t.Errorf("%s: %q, %v, want %q", name, faults(got), err, c.want)
			continue
		}
		read := 0
		for _, l := range got.Lines {
			if len(l.Faults) == 0 {
				read++
			}
		}
		if want := len(got.Lines) - len(c.want); read != want || len(got.Lines) < 2 {
			t.Errorf("%s: %d of %d lines were read", name, read, len(got.Lines))
		}
	}
	// Nor is all that follows looked through for each of many.
	many := "serial,name\n" + strings.Repeat("0000000001,\"x\n", 100) + strings.Repeat("x", 1<<20)
	if got, err := Parse([]byte(many), 200); err != nil || len(got.Lines) != 101 || len(faults(got)) < 101 {
		t.Errorf("many: %d lines, %v", len(got.Lines), err)
	}
}

// A line with more fields than columns has them in the wrong ones.
func TestTooManyFields(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte("serial,name,site\n0000000001,Office, upper floor,Berlin\n0000000002,Two,Berlin,\n0000000003,\"Three, four\",Berlin\n"), 10)
	if err != nil || len(got.Lines) != 3 || !slices.Equal(faults(got), []string{"2  columns"}) || got.Lines[2].Name != "Three, four" {
		t.Errorf("%+v, %v", got.Lines, err)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	for in, code := range map[string]Code{
		"": Required, "\ufeff": Required, "name\nx": Required, "serial\n0000000001": Required, "a,b\n": Required,
		"serial,name,Seriennummer\n": Duplicate, "serial,\"name\n": Encoding, "\xff\xfes\x00e\x00": Encoding, "serial,name\n0000000001,a\n0000000002,b\n0000000003,c": TooMany,
	} {
		_, err := Parse([]byte(in), 2)
		if wrong := (*Error)(nil); !errors.As(err, &wrong) || wrong.Code != code {
			t.Errorf("%q: %v, want %s", in, err, code)
		}
	}
	if got, err := Parse([]byte("serial,name\n"), 2); err != nil || len(got.Lines) != 0 {
		t.Errorf("without lines: %+v, %v", got, err)
	}
}

// FuzzParse: whatever comes, what is taken for right is within the bounds.
func FuzzParse(f *testing.F) {
	f.Add([]byte("serial,name\n0000000001,x\n"))
	f.Add([]byte("\ufeffsep=;\r\nSeriennummer;Name;Gruppen\r\n0000000001;\"a\"\"b\r\n\";x|y\r\n"))
	f.Add([]byte("serial\tname\n\"\n"))
	f.Add([]byte("sep=\t\nserial\tname\n0000000001\t\"a\n0000000002\tb\n0000000003\t\"c\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		const limit = 20
		list, err := Parse(text, limit)
		if err != nil {
			if wrong := (*Error)(nil); !errors.As(err, &wrong) || wrong.Message == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(list.Lines) > limit {
			t.Fatalf("%d lines", len(list.Lines))
		}
		serials, last := map[string]bool{}, 0
		for _, l := range list.Lines {
			if l.Number <= last {
				t.Fatalf("line %d after %d", l.Number, last)
			}
			last = l.Number
			if len(l.Faults) > 0 {
				continue
			}
			if len(l.Serial) != 10 || l.Name == "" || len([]rune(l.Name)) > maxName || len(l.Groups) > maxItems || len(l.Tags) > maxItems || serials[string(l.Serial)] {
				t.Fatalf("%+v", l)
			}
			serials[string(l.Serial)] = true
		}
		if n := bytes.Count(text, []byte("\n")) + 1; last > n {
			t.Fatalf("line %d of %d", last, n)
		}
	})
}
