package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

var begin = time.Date(2026, 11, 26, 12, 0, 0, 123e6, time.UTC)

// chain makes entries of a tenant that go on from a head.
func chain(t testing.TB, from Head, n int) (all []Entry, last Head) {
	t.Helper()
	for i := range n {
		e := Entry{
			Tenant: from.Tenant, Seq: from.Seq + 1, At: begin.Add(time.Duration(from.Seq) * time.Second), Actor: "user u1", User: "u1", Home: from.Tenant, Right: "home",
			Operation: "createGroup", Resource: fmt.Sprintf("group g%d", i), Outcome: Done, Fields: []string{"name"}, Access: "1234567890123456", Prev: from.Hash,
		}
		hash, err := e.Sum()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		from.Seq, from.Hash = e.Seq, hash
	}
	return all, from
}

// plain is a head without a signature, for tests that look at no signature.
func plain(h Head) string {
	h.At = begin
	text, _ := json.Marshal(h)
	return "e." + base64url(text) + ".s"
}

// export writes an export of entries.
func export(t testing.TB, from Head, all []Entry, last Head) []string {
	t.Helper()
	var b bytes.Buffer
	s := Start{Tenant: from.Tenant, After: from.Seq, Hash: from.Hash}
	if from.Seq > 0 {
		s.Head = plain(from)
	}
	w := NewWriter(&b, s)
	for _, e := range all {
		hash, err := e.Sum()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(e, hash); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(plain(last)); err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func verify(t testing.TB, lines []string, heads ...Head) Report {
	t.Helper()
	r, err := Verify(strings.NewReader(strings.TrimSuffix(strings.Join(lines, ""), "\n")+"\n"), Options{Heads: heads})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTampering: each way to change a log is found, at the first entry that is wrong.
func TestTampering(t *testing.T) {
	t.Parallel()
	genesis := Genesis("t1")
	all, last := chain(t, genesis, 10)
	good := export(t, genesis, all, last)
	_, half := chain(t, genesis, 5)
	if r := verify(t, good, half, last); r.Fault != nil || r.Entries != 10 || r.Last != 10 || r.Hash != last.Hash {
		t.Fatalf("control: %+v", r)
	}
	if r := verify(t, export(t, half, all[5:], last), half); r.Fault != nil || r.After != 5 || r.Entries != 5 {
		t.Fatalf("control, the rest: %+v", r)
	}
	without := func(at ...int) []string {
		var left []string
		for i, l := range good {
			if !slices.Contains(at, i) {
				left = append(left, l)
			}
		}
		return left
	}
	// Written anew from an entry on: all hashes are right.
	anew := func(at int) []string {
		changed := slices.Clone(all)
		from := genesis
		for i := range changed {
			e := &changed[i]
			if i == at {
				e.Outcome = Refused("forbidden")
			}
			e.Prev = from.Hash
			hash, err := e.Sum()
			if err != nil {
				t.Fatal(err)
			}
			from.Seq, from.Hash = e.Seq, hash
		}
		return export(t, genesis, changed, from)
	}
	foreign, _ := chain(t, Genesis("t2"), 10)
	swap := func(a, b int) []string {
		c := slices.Clone(good)
		c[a], c[b] = c[b], c[a]
		return c
	}
	replace := func(at int, from, to string) []string {
		c := slices.Clone(good)
		if c[at] = strings.Replace(c[at], from, to, 1); c[at] == good[at] {
			t.Fatalf("%q is not in %s", from, c[at])
		}
		return c
	}
	insert := func(at int, line string) []string { return slices.Insert(slices.Clone(good), at, line) }
	forged := all[4]
	forged.Prev = all[3].Prev
	hash, err := forged.Sum()
	if err != nil {
		t.Fatal(err)
	}
	line, err := NewLine(forged, hash)
	if err != nil {
		t.Fatal(err)
	}
	forgedLine, _ := json.Marshal(line)
	backdated := all[4]
	backdated.At = all[2].At
	hash, _ = backdated.Sum()
	line, _ = NewLine(backdated, hash)
	backdatedLine, _ := json.Marshal(line)
	for _, c := range []struct {
		name  string
		lines []string
		heads []Head
		kind  Kind
		seq   int64
	}{
		{"an entry changed", replace(4, "group g3", "group g4"), nil, Changed, 4},
		{"a time changed", replace(4, "12:00:03", "12:00:04"), nil, Changed, 4},
		{"the hash changed, too", replace(4, `"hash":"`, `"hash":"00`), nil, Malformed, 4},
		{"not in the canonical form", replace(4, `{"access"`, `{ "access"`), nil, Malformed, 4},
		{"a field added", replace(4, `"v":1`, `"v":1,"x":1`), nil, Malformed, 4},
		{"an address in it", replace(4, `"user u1"`, `"user 192.0.2.1"`), nil, Malformed, 4},
		{"an entry removed", without(4), nil, Missing, 5},
		{"the first removed", without(1), nil, Missing, 2},
		{"several removed", without(4, 5, 6), nil, Missing, 7},
		{"two in another order", swap(4, 5), nil, Reordered, 5},
		{"the last in front", slices.Insert(without(10), 1, good[10]), nil, Reordered, 10},
		{"one twice", insert(5, good[4]), nil, Inserted, 4},
		{"one of another chain", insert(5, export(t, Genesis("t2"), foreign, last)[4]), nil, Foreign, 4},
		{"another one in its place", append(slices.Clone(good[:5]), append([]string{string(forgedLine) + "\n"}, good[6:]...)...), nil, Forked, 5},
		{"one dated back", append(slices.Clone(good[:5]), append([]string{string(backdatedLine) + "\n"}, good[6:]...)...), nil, Backdated, 5},
		{"the end cut off", without(9, 10), nil, Truncated, 9},
		{"the end cut off, with a head of it", export(t, genesis, all[:5], half), []Head{last}, Truncated, 6},
		{"without the head", good[:11], nil, Truncated, 11},
		{"within a line", append(slices.Clone(good[:6]), good[6][:20]), nil, Malformed, 6},
		{"written anew", anew(2), []Head{half}, Forked, 5},
		{"written anew, the last one", anew(9), []Head{last}, Forked, 10},
		{"a head of another chain", good, []Head{Genesis("t2")}, Foreign, 0},
		{"another beginning", replace(0, genesis.Hash.String(), last.Hash.String()), nil, Forked, 0},
		{"another tenant", replace(0, `"tenant":"t1"`, `"tenant":"t2"`), nil, Forked, 0},
		{"nothing", []string{""}, nil, Malformed, 0},
		{"something after the head", append(slices.Clone(good[:11]), good[11]+"\n", good[10]), nil, Malformed, 11},
	} {
		r := verify(t, c.lines, c.heads...)
		if r.Fault == nil || r.Fault.Kind != c.kind || r.Fault.Seq != c.seq {
			t.Errorf("%s: %v, want %s at entry %d", c.name, r.Fault, c.kind, c.seq)
		}
	}
	// Without a head that was kept, what was written anew is a log like any other.
	if r := verify(t, anew(2)); r.Fault != nil {
		t.Errorf("control: %v", r.Fault)
	}
}

// A head is of service/ccc, also after its certificate has expired.
func TestHead(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	creds := ca.Credentials(identity.Service(identity.DefaultTrustDomain, "ccc"))
	_, h := chain(t, Genesis("t1"), 3)
	h.At = time.Now().UTC().Truncate(time.Second)
	text, err := SignHead(creds, h)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenHead(creds, text); err != nil || got != h {
		t.Fatalf("%+v, %v", got, err)
	}
	other, err := SignHead(ca.Credentials(identity.Service(identity.DefaultTrustDomain, "ara")), h)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(text, ".")
	h.Seq = 2
	payload, _ := json.Marshal(h)
	for name, wrong := range map[string]string{
		"of another service": other, "changed": parts[0] + "." + base64url(payload) + "." + parts[2], "cut": text[:len(text)-4], "empty": "", "text": "a.b.c",
	} {
		if got, err := OpenHead(creds, wrong); !errors.Is(err, ErrHead) || got != (Head{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	all, last := chain(t, Genesis("t1"), 3)
	lines := export(t, Genesis("t1"), all, last)
	open := func(text string) (Head, error) { return OpenHead(creds, text) }
	if r, err := Verify(strings.NewReader(strings.Join(lines, "")+"\n"), Options{Open: open}); err != nil || r.Fault == nil || r.Fault.Kind != Unsigned || r.Signed {
		t.Errorf("a head that nobody signed: %+v, %v", r, err)
	}
}

// The canonical form and the hash never change for version 1.
func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	all, _ := chain(t, Genesis("t1"), 1)
	text, err := all[0].Canonical()
	if err != nil {
		t.Fatal(err)
	}
	hash, _ := all[0].Sum()
	got := string(text) + "\n" + hash.String() + "\n"
	want, err := os.ReadFile("testdata/entry.golden")
	if err != nil || got != string(want) {
		t.Errorf("%v, got\n%s", err, got)
	}
	if e, err := parse(text); err != nil || fmt.Sprint(e) != fmt.Sprint(all[0]) {
		t.Errorf("%+v, %v", e, err)
	}
}

// No field of an entry has room for what somebody has typed.
func TestEntriesHaveNoText(t *testing.T) {
	t.Parallel()
	all, _ := chain(t, Genesis("t1"), 1)
	if err := all[0].Validate(); err != nil {
		t.Fatalf("control: %v", err)
	}
	set := map[string]func(*Entry, string){
		"tenant": func(e *Entry, s string) { e.Tenant = s }, "actor": func(e *Entry, s string) { e.Actor = s }, "actor's id": func(e *Entry, s string) { e.Actor = "user " + s },
		"user": func(e *Entry, s string) { e.User = s }, "home": func(e *Entry, s string) { e.Home = s }, "right": func(e *Entry, s string) { e.Right = "grant " + s },
		"operation": func(e *Entry, s string) { e.Operation = s }, "resource": func(e *Entry, s string) { e.Resource = "group " + s }, "serial": func(e *Entry, s string) { e.Serial = s },
		"outcome": func(e *Entry, s string) { e.Outcome = s }, "code": func(e *Entry, s string) { e.Outcome = Refused(s) }, "fields": func(e *Entry, s string) { e.Fields = []string{s} },
		"access": func(e *Entry, s string) { e.Access = s },
	}
	for name, f := range set {
		for _, text := range []string{"jo@example.com", "198.51.100.7", "2001:db8::7", "Jo Example", "Ö", "a\nb", `a"b`, "=1+1"} {
			e := all[0]
			if f(&e, text); e.Validate() == nil {
				t.Errorf("%s takes %q", name, text)
			}
		}
	}
}

// Spreadsheets take no cell for a formula.
func TestCSV(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, err := NewCSV(&b)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := chain(t, Genesis("-x"), 1) // an id may begin like one
	hash, _ := all[0].Sum()
	if err := errors.Join(w.Add(all[0], hash), w.End()); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, ",'-x,user u1,") || strings.Count(got, "\n") != 2 || strings.Contains(got, ",-x") {
		t.Errorf("%s", got)
	}
}

// Many entries take seconds, and tell how far it is.
func TestManyEntries(t *testing.T) {
	t.Parallel()
	const n = 20_000
	all, last := chain(t, Genesis("t1"), n)
	text := strings.Join(export(t, Genesis("t1"), all, last), "") + "\n"
	began, told := time.Now(), int64(0)
	r, err := Verify(strings.NewReader(text), Options{Progress: func(k int64) { told = k }})
	if err != nil || r.Fault != nil || r.Entries != n || told != n {
		t.Errorf("%+v, %v, told %d", r, err, told)
	}
	t.Logf("%d entries, %d MB: %v", n, len(text)>>20, time.Since(began).Round(time.Millisecond))
}

func FuzzVerify(f *testing.F) {
	all, last := chain(f, Genesis("t1"), 3)
	f.Add([]byte(strings.Join(export(f, Genesis("t1"), all, last), "") + "\n"))
	f.Add([]byte(`{"audit":1,"tenant":"t","after":1,"hash":"","head":"a.b.c"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Verify(bytes.NewReader(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Fault == nil && r.Entries != r.Last-r.After {
			t.Errorf("%+v", r)
		}
	})
}

func base64url(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }
