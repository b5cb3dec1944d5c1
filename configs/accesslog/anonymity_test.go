package accesslog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestUnwrap(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"198.51.100.7":                        "198.51.100.7",
		"::ffff:198.51.100.7":                 "198.51.100.7",
		"::198.51.100.7":                      "198.51.100.7",
		"::ffff:0:198.51.100.7":               "198.51.100.7",
		"64:ff9b::198.51.100.7":               "198.51.100.7",
		"64:ff9b:1:c633:64:700::":             "198.51.100.7",
		"2002:c633:6407:1::1":                 "198.51.100.7",
		"2001::cb00:7101:8000:ffff:39cc:9bf8": "198.51.100.7",
		"2001:db8::1":                         "2001:db8::1",
		"fe80::1%eth0":                        "fe80::1",
		"::1":                                 "::1",
		"::":                                  "::",
	} {
		if got := Unwrap(addr(in)); got != addr(want) {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"198.51.100.7": "198.51.0.0/16", "::ffff:198.51.100.7": "198.51.0.0/16", "2002:c633:6407:1::1": "198.51.0.0/16",
		"2001:db8:1:2::3": "2001:db8::/32", "fe80::1%eth0": "fe80::/32",
	} {
		if got := Prefix(addr(in)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if Prefix(netip.Addr{}).IsValid() {
		t.Error("a prefix of no address")
	}
}

// wrapped gives the IPv6 forms of an IPv4 address.
func wrapped(a netip.Addr) []netip.Addr {
	b := a.As4()
	h := fmt.Sprintf("%02x%02x:%02x%02x", b[0], b[1], b[2], b[3])
	n := fmt.Sprintf("%02x%02x:%02x%02x", ^b[0], ^b[1], ^b[2], ^b[3])
	return []netip.Addr{
		a, netip.AddrFrom16(a.As16()), addr("64:ff9b::" + h), addr("2002:" + h + "::7"), addr("2001::1:" + n), addr("::ffff:0:" + h),
	}
}

// keep records each address n times, and gives the files that are kept for ever.
func keep(t *testing.T, n int, all ...netip.Addr) map[string][]byte {
	t.Helper()
	var kept map[string][]byte
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		for range n {
			for _, a := range all {
				w.log.Record(a, OK)
			}
			w.sleep(time.Minute)
		}
		w.sleep(MaxRaw + time.Hour)
		w.end()
		kept = contents(t, w.dir)
	})
	return kept
}

// Nothing of an address is in any file that is kept, in any notation, also while the
// raw stream is there. The scan is shown to find each notation in the same files.
func TestNoAddressOnDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		for range 50 {
			for _, a := range canaries {
				forms := []netip.Addr{a}
				if a.Is4() {
					forms = wrapped(a)
				}
				for _, f := range forms {
					w.log.Record(f, Refused)
				}
			}
			w.sleep(time.Minute)
		}
		if n := len(w.records()); n != 50*(5+5*6) {
			t.Errorf("control: %d records", n)
		}
		for _, a := range canaries {
			if !slices.ContainsFunc(w.records(), func(r Record) bool { return r.Address == a }) {
				t.Errorf("control: %s cannot be read", a)
			}
		}
		check := func(when string) {
			t.Helper()
			kept := contents(t, w.dir)
			if len(kept) < 3 {
				t.Fatalf("%s: control: %d files", when, len(kept))
			}
			for name, text := range kept {
				for _, a := range canaries {
					if found := onDisk(text, a); found != "" {
						t.Errorf("%s: %s of %s is in %s", when, found, a, name)
					}
				}
			}
		}
		check("while it runs")
		w.sleep(time.Hour)
		w.end()
		check("after the end")
		w.sleep(MaxRaw)
		w.start()
		check("after 14 days")
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 0 {
			t.Errorf("%d segments", n)
		}
		w.end()
		// The scan finds what it should.
		for _, a := range canaries {
			for notation, text := range notations(a) {
				path := filepath.Join(w.dir, "planted")
				for _, form := range [][]byte{[]byte("x" + text + "y\n"), bytes.Repeat(a.AsSlice(), 2)} {
					if err := os.WriteFile(path, append([]byte("before\n"), form...), 0o600); err != nil {
						t.Fatal(err)
					}
					if onDisk(contents(t, w.dir)["planted"], a) == "" && !strings.Contains(text, "::") {
						t.Errorf("control: %s of %s is not found", notation, a)
					}
				}
			}
		}
	})
}

// onDisk tells in which form an address is in a file: as text, or as its bytes. Four
// bytes come up by chance in sealed data, but not twice, and each was recorded often.
func onDisk(file []byte, a netip.Addr) string {
	b := a.AsSlice()
	reversed := slices.Clone(b)
	slices.Reverse(reversed)
	least := 1
	if len(b) == 4 {
		least = 2
	}
	for form, raw := range map[string][]byte{"bytes": b, "reversed bytes": reversed} {
		if bytes.Count(file, raw) >= least {
			return form
		}
	}
	return leaks(string(file), a)
}

// Two addresses of one network, in whatever form, leave the same bytes for ever.
func TestSameNetworkSameBytes(t *testing.T) {
	t.Parallel()
	type pair struct{ a, b []netip.Addr }
	many := func(base string) (all []netip.Addr) {
		a := addr(base)
		for range 12 {
			all = append(all, a)
			a = a.Next()
		}
		return all
	}
	for name, p := range map[string]pair{
		"IPv4":      {many("198.51.1.1"), many("198.51.200.9")},
		"IPv6":      {many("2001:db8:1::1"), many("2001:db8:ffff:2::9")},
		"one each":  {[]netip.Addr{addr("198.51.1.1")}, []netip.Addr{addr("198.51.200.9")}},
		"wrapped":   {wrapped(addr("198.51.1.1")), wrapped(addr("198.51.77.3"))},
		"rare nets": {[]netip.Addr{addr("2001:db8:1::1")}, []netip.Addr{addr("2a02:1::1")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := keep(t, 12, p.a...), keep(t, 12, p.b...)
			n := 0
			for file, text := range first {
				if strings.HasPrefix(file, statsName) || strings.HasPrefix(file, visitorsName) {
					n++
					if !bytes.Equal(text, second[file]) {
						t.Errorf("%s:\n%s\nand\n%s", file, text, second[file])
					}
				}
			}
			if n != 2 {
				t.Errorf("control: %d files", n)
			}
		})
	}
	// The bytes are not always the same.
	a, b := keep(t, 12, many("198.51.1.1")...), keep(t, 12, many("198.52.1.1")...)
	if file := statsName + "-2026-03.jsonl"; len(a[file]) == 0 || bytes.Equal(a[file], b[file]) {
		t.Error("control: another network leaves the same bytes")
	}
}

// The threshold: nothing is told of a network with fewer than k accesses, or with fewer
// than k addresses; nothing is lost.
func TestThreshold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		record := func(base string, addresses, each int, c Class) {
			a := addr(base)
			for range addresses {
				for range each {
					w.log.Record(a, c)
				}
				a = a.Next()
			}
		}
		record("198.51.0.1", 9, 1, OK)     // fewer than k accesses
		record("198.52.0.1", 10, 1, OK)    // k
		record("198.53.0.1", 9, 100, OK)   // k accesses, fewer than k addresses
		record("198.54.0.1", 1, 5000, OK)  // one visitor
		record("2001:db8::1", 10, 2, OK)   // k
		record("198.52.0.1", 9, 1, Failed) // per class
		w.sleep(time.Hour)
		w.end()
		hour := Hour{begin}
		want := []Stat{
			{hour, "test", OK, "198.52.0.0/16", 10},
			{hour, "test", OK, "2001:db8::/32", 20},
			{hour, "test", OK, Other, 9 + 900 + 5000},
			{hour, "test", Failed, Other, 9},
		}
		if got := w.rows(); !slices.Equal(got, want) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}
		if v := collect(t, w.reader().Visitors(time.Time{}, time.Time{})); len(v) != 1 || v[0].Visitors != 39 {
			t.Errorf("visitors: %+v, want 39", v)
		}
	})
}

// Fewer visitors than k are not told apart from each other, and not from 0.
func TestFewVisitors(t *testing.T) {
	t.Parallel()
	one, nine := keep(t, 12, addr("198.51.1.1")), keep(t, 12, addr("198.51.1.1"), addr("10.0.0.1"), addr("2001:db8::1"))
	file := visitorsName + "-2026-03.jsonl"
	if len(one[file]) == 0 || !bytes.Equal(one[file], nine[file]) {
		t.Errorf("%s and %s", one[file], nine[file])
	}
}

// The limit of networks in an hour: what is beyond it is counted as "other".
func TestRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Rows: 2})
		w.start()
		for i := range 3 {
			for j := range 20 {
				w.log.Record(netip.AddrFrom4([4]byte{byte(10 + i), 0, 0, byte(j)}), OK)
			}
			w.sleep(time.Minute)
		}
		w.end()
		if rows := w.rows(); len(rows) != 3 || rows[2].Prefix != Other || rows[2].Count != 20 {
			t.Errorf("rows: %+v", rows)
		}
	})
}

// The kept files have exactly the columns that are allowed.
func TestClosedSchema(t *testing.T) {
	t.Parallel()
	columns := func(v any) (all []string) {
		for f := range reflect.TypeOf(v).Fields() {
			all = append(all, strings.Split(f.Tag.Get("json"), ",")[0])
		}
		return all
	}
	for _, c := range []struct {
		v    any
		want []string
	}{
		{Record{}, []string{"time", "address", "service", "class"}},
		{Stat{}, []string{"hour", "service", "class", "prefix", "count"}},
		{Visitors{}, []string{"day", "service", "visitors"}},
		{Sweep{}, []string{"time", "service", "found", "deleted", "oldest", "note", "prev", "hash"}},
	} {
		if got := columns(c.v); !slices.Equal(got, c.want) {
			t.Errorf("%T has %v, want %v", c.v, got, c.want)
		}
	}
	var many []netip.Addr
	for i := range 20 {
		many = append(many, netip.AddrFrom4([4]byte{198, 51, 1, byte(i)}))
	}
	kept := keep(t, 1, many...)
	for file, allowed := range map[string][]string{
		statsName + "-2026-03.jsonl":    {"class", "count", "hour", "prefix", "service"},
		visitorsName + "-2026-03.jsonl": {"day", "service", "visitors"},
	} {
		n := 0
		for line := range bytes.Lines(kept[file]) {
			var row map[string]any
			if err := json.Unmarshal(line, &row); err != nil {
				t.Fatal(err)
			}
			var got []string
			for k := range row {
				got = append(got, k)
			}
			slices.Sort(got)
			if !slices.Equal(got, allowed) {
				t.Errorf("%s: %v", file, got)
			}
			n++
		}
		if n == 0 {
			t.Errorf("control: %s is empty", file)
		}
	}
	if got := len(kept); got != 5 { // and state, lock, sweeps
		t.Errorf("%d files are kept", got)
	}
	// A row with another column is not read.
	var s Stat
	if err := strict([]byte(`{"hour":"2026-03-01T00Z","service":"x","class":"ok","prefix":"other","count":1,"ip":"198.51.1.1"}`), &s); err == nil {
		t.Error("a row with an address is read")
	}
}

// The key of the day is never in a file, nor are hashes made with it; the scan is shown
// to find them.
func TestDayKeyIsInMemoryOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		var secrets [][]byte
		look := func(files map[string][]byte) (found string) {
			for name, text := range files {
				for _, s := range secrets {
					if bytes.Contains(text, s) || bytes.Contains(text, []byte(hex.EncodeToString(s))) {
						found = name
					}
				}
			}
			return found
		}
		for day := range 3 {
			w.log.Record(minute(day), OK)
			w.sleep(2 * time.Second)
			s := w.log.stats
			if len(secrets) > 0 && bytes.Equal(secrets[len(secrets)-1], s.sum) {
				t.Error("two days have the same key")
			}
			secrets = append(secrets, bytes.Clone(s.secret[:]), bytes.Clone(s.sum[:8]))
			if found := look(contents(t, w.dir)); found != "" {
				t.Errorf("a key or a hash is in %s", found)
			}
			w.sleep(24 * time.Hour)
			if s.secret != [32]byte{} || s.mac != nil || s.sketch != nil {
				t.Error("the key is there after its day")
			}
		}
		w.end()
		if found := look(contents(t, w.dir)); found != "" {
			t.Errorf("a key or a hash is in %s", found)
		}
		if look(map[string][]byte{"x": append([]byte("a"), secrets[0]...)}) == "" || look(map[string][]byte{"x": []byte(hex.EncodeToString(secrets[1]))}) == "" {
			t.Error("control: not found where it is")
		}
	})
}

// Old images of the key ring are of no use with the keys of later.
func TestRatchet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		w.log.Record(minute(0), OK)
		w.sleep(time.Hour)
		old := contents(t, w.dir)
		w.log.Record(minute(1), OK)
		w.sleep(MaxRaw)
		w.end()
		now := contents(t, w.dir)
		s := new(state)
		if err := s.decode(old["state"]); err != nil || len(s.ring) != 1 {
			t.Fatalf("control: %v", err)
		}
		// The ring of then with the key-encryption keys of now.
		mixed := bytes.Clone(old["state"])
		copy(mixed[kekAt:ringAt], now["state"][kekAt:ringAt])
		if err := new(state).decode(mixed); err == nil {
			t.Error("an old ring opens with a later key")
		}
		// Only one key and one ring are in the file.
		for i := range 2 {
			if at := kekAt + i*smallSlot; bytes.Equal(now["state"][at:at+smallSlot], make([]byte, smallSlot)) == bytes.Equal(now["state"][kekAt+(1-i)*smallSlot:][:smallSlot], make([]byte, smallSlot)) {
				t.Error("there is not exactly one key-encryption key")
			}
		}
		// A segment that was recovered cannot be read without its key.
		for name, text := range old {
			if id, ok := segmentOf(name); ok {
				if err := readSegment(bytes.NewReader(text), key{id: id, start: begin}, func(Record) bool { return true }); err == nil {
					t.Error("a segment opens with another key")
				}
			}
		}
	})
}

// Who has the anonymous stream and knows every customer's address cannot tell which of
// them was there: the same bytes come from any other visitor.
func TestAdversary(t *testing.T) {
	t.Parallel()
	var customers []netip.Addr // each with a network of its own, as a company may have
	for i := range 8 {
		customers = append(customers, netip.MustParseAddr(fmt.Sprintf("2a0%x:1234::1", i)), netip.AddrFrom4([4]byte{byte(20 + i), 1, 2, 3}))
	}
	var crowd []netip.Addr
	for i := range 40 {
		crowd = append(crowd, netip.AddrFrom4([4]byte{198, 51, 9, byte(i)}))
	}
	file := statsName + "-2026-03.jsonl"
	want := keep(t, 30, append(slices.Clone(crowd), customers[0])...)[file]
	if len(want) == 0 {
		t.Fatal("control: nothing is kept")
	}
	for _, c := range customers[1:4] {
		if got := keep(t, 30, append(slices.Clone(crowd), c)...)[file]; !bytes.Equal(got, want) {
			t.Errorf("the visit of %s is told apart:\n%s\n%s", c, got, want)
		}
	}
	// The crowd's network is there.
	if !bytes.Contains(want, []byte(`"198.51.0.0/16"`)) {
		t.Errorf("control: %s", want)
	}
}
