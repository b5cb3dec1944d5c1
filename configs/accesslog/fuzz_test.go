package accesslog

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// FuzzUnwrap: whatever form an address has, what is kept of it is at most 16 bits of an
// IPv4 address or 32 of an IPv6 one, and an IPv4 address in an IPv6 one is never kept
// as part of the latter.
func FuzzUnwrap(f *testing.F) {
	for _, a := range canaries {
		f.Add(a.AsSlice(), "")
		if a.Is4() {
			for _, w := range wrapped(a) {
				f.Add(w.AsSlice(), "eth0")
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, zone string) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if a.Is6() {
			a = a.WithZone(zone)
		}
		u := Unwrap(a)
		if Unwrap(u) != u && !u.Is6() || u.Zone() != "" || u.Is4In6() {
			t.Errorf("%s: %s", a, u)
		}
		p := Prefix(a)
		if !p.IsValid() || !p.Contains(u) || p.Bits() > keep6 || u.Is4() && p.Bits() != keep4 {
			t.Errorf("%s: %s", a, p)
		}
		c := cellOf(OK, u)
		if c.prefix() != p || c.class() != OK {
			t.Errorf("%s: packed and unpacked it is %s", a, c.prefix())
		}
		if a.Is4() {
			for _, w := range wrapped(a) {
				if Prefix(w) != p {
					t.Errorf("%s as %s is in %s, not in %s", a, w, Prefix(w), p)
				}
			}
		}
	})
}

// FuzzSegment: no file makes the reader give what was not sealed, or fail other than
// with an error.
func FuzzSegment(f *testing.F) {
	k := key{id: segmentID{1}, start: begin, secret: [keySize]byte{2}}
	dir := f.TempDir()
	w, err := openSegment(dir, k, "test")
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		e := entry{at: begin.Add(time.Minute).UnixNano(), addr: minute(i).As16(), class: OK}
		if err := w.append([]entry{e, e}); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.close(); err != nil {
		f.Fatal(err)
	}
	good := contents(f, dir)[segmentName(k)]
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add(segmentHeader(segmentMagic, k, "test"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := readSegment(bytes.NewReader(b), k, func(r Record) bool {
			n++
			if r.Service != "test" || r.Class != OK || !r.Time.Equal(begin.Add(time.Minute)) || r.Address.As4()[0] != 198 {
				t.Errorf("a record that nobody wrote: %+v", r)
			}
			return true
		})
		if bytes.Equal(b, good) && (err != nil || n != 6) {
			t.Errorf("control: %d records, %v", n, err)
		}
	})
}

// FuzzState: no image of the state file gives keys that were not in it.
func FuzzState(f *testing.F) {
	dir := f.TempDir()
	s, _, _, err := openState(dir+"/state", func(string) error { return nil })
	if err != nil {
		f.Fatal(err)
	}
	k := key{id: segmentID{1}, start: begin, expires: begin.Add(MaxRaw), secret: [keySize]byte{2}}
	if err := s.save(ring{k}); err != nil {
		f.Fatal(err)
	}
	if err := s.saveClock(moment{begin, begin}); err != nil {
		f.Fatal(err)
	}
	good := contents(f, dir)["state"]
	if err := s.close(); err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), byte(0), uint16(0))
	f.Add(uint16(kekAt+20), byte(1), uint16(ringAt))
	f.Fuzz(func(t *testing.T, at uint16, flip byte, zero uint16) {
		image := bytes.Clone(good)
		image[at] ^= flip
		if zero != 0 {
			clear(image[zero:min(len(image), int(zero)+smallSlot)])
		}
		got := new(state)
		if err := got.decode(image); err == nil && (len(got.ring) != 1 || got.ring[0] != k) {
			t.Errorf("another ring: %+v", got.ring)
		} else if err != nil && bytes.Equal(image, good) {
			t.Errorf("control: %v", err)
		}
		if m, seq := decodeClock(image); seq != 0 && !m.log.Equal(begin) {
			t.Errorf("another time: %v", m)
		}
	})
}

// FuzzStats: what can be read is a row with these columns, and is written as it was.
func FuzzStats(f *testing.F) {
	f.Add([]byte(`{"hour":"2026-11-26T09Z","service":"ara","class":"ok","prefix":"198.51.0.0/16","count":57}` + "\n"))
	f.Add([]byte("{}\n{}\n{"))
	f.Add([]byte(strings.Repeat("x", 5000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var rows []Stat
		if _, err := readLines(bytes.NewReader(b), func(s Stat, _ error) bool { rows = append(rows, s); return true }); err != nil {
			return
		}
		for _, s := range rows {
			if s.Class == 0 {
				continue // a column is missing
			}
			text, err := lines([]Stat{s})
			if err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			var again Stat
			if err := strict(text, &again); err != nil || again.Count != s.Count || !again.Hour.Equal(s.Hour.Time) {
				t.Errorf("%+v became %+v, %v", s, again, err)
			}
		}
		_, _ = readLines(bytes.NewReader(b), func(Visitors, error) bool { return true })
		_, _ = readLines(bytes.NewReader(b), func(Sweep, error) bool { return true })
	})
}

// FuzzRedact: an address between any two texts is gone afterwards, JSON stays JSON,
// and redacting twice is redacting once.
func FuzzRedact(f *testing.F) {
	for _, a := range canaries {
		for _, text := range notations(a) {
			f.Add("peer ", text+" gone", a.AsSlice(), uint16(443))
		}
	}
	f.Add("2026-11-26T09:46:12.123Z ", " [INFO] 1.3.6.1.5.5.7.3.2 %25%3", []byte{198, 51, 100, 7}, uint16(0))
	f.Fuzz(func(t *testing.T, before, after string, b []byte, port uint16) {
		a, ok := netip.AddrFromSlice(b)
		if !ok || a.Is4In6() {
			return
		}
		var r Redactor
		if r.shows(a) || len(before)+len(after) > 4096 {
			return
		}
		for _, text := range []string{a.String(), "[" + a.String() + "]", netip.AddrPortFrom(a, port).String()} {
			in := before + " " + text + " " + after
			out := r.String(in)
			// Beside what is in the texts around it anyway.
			if strings.Contains(r.String(" "+text+" "), text) {
				t.Fatalf("%q is not redacted", text)
			}
			if n, most := strings.Count(out, " "+text+" "), strings.Count(r.String(before+"  "+after), " "+text+" "); n > most {
				t.Errorf("%q became %q", in, out)
			}
			if again := r.String(out); strings.Count(again, Mark) < strings.Count(out, Mark) {
				t.Errorf("redacted again %q is %q", out, again)
			}
			quoted, err := json.Marshal(map[string]string{"x": in})
			if err != nil {
				t.Fatal(err)
			}
			if red := r.String(string(quoted)); !json.Valid([]byte(red)) {
				t.Errorf("%s became %s", quoted, red)
			}
		}
	})
}
