package settings

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTable: every value has a field, its key and its type, and defaults fit.
func TestTable(t *testing.T) {
	t.Parallel()
	types := map[reflect.Kind]Type{reflect.String: String, reflect.Int: Integer, reflect.Bool: Boolean, reflect.Slice: List}
	typ := reflect.TypeFor[Settings]()
	if typ.NumField() != len(Fields()) {
		t.Errorf("%d values and %d fields", typ.NumField(), len(Fields()))
	}
	for i := range typ.NumField() {
		key := typ.Field(i).Tag.Get("json")
		f, ok := Of(key)
		if !ok || f.Type != types[typ.Field(i).Type.Kind()] {
			t.Errorf("%s: no field of its type", key)
			continue
		}
		s := Default()
		if f.at(&s) != reflect.ValueOf(&s).Elem().Field(i).Addr().Interface() {
			t.Errorf("the field %s is another value's", key)
		}
	}
	d := Default()
	if wrong := Check(&d); len(wrong) > 0 {
		t.Errorf("defaults: %v", wrong)
	}
	if _, ok := Of("nothing"); ok {
		t.Error("there is a field of another name")
	}
}

// TestValues: what each setting takes and refuses.
func TestValues(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for key, tt := range map[string]struct{ good, bad []string }{
		"name":                            {[]string{`"Haus 1"`, `"ß"`}, []string{`""`, `"  "`, `"a\nb"`, `3`, `null`, `"` + strings.Repeat("x", 65) + `"`}},
		"language":                        {[]string{`"fr"`}, []string{`"it"`, `""`, `true`}},
		"country":                         {[]string{`"CH"`}, []string{`"de"`, `"XX"`, `""`}},
		"time_zone":                       {[]string{`"UTC"`, `"America/Argentina/Buenos_Aires"`}, []string{`"Local"`, `""`, `"Europe/Nowhere"`, `"../etc/passwd"`, `"/etc/localtime"`}},
		"ntp_server":                      {[]string{`"192.0.2.1"`, `"ntp.example.net"`, `"2001:db8::1"`}, []string{`""`, `"a b"`, `"-x"`, `"http://a/"`}},
		"ntp_interval_minutes":            {[]string{`1`, `1440`}, []string{`0`, `1441`, `1.5`, `"5"`, `null`, `1e99`}},
		"dns_servers":                     {[]string{`[]`, `["192.0.2.1","2001:db8::1"]`}, []string{`["x"]`, `["192.0.2.1","192.0.2.1"]`, `["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]`, `"192.0.2.1"`, `null`, `[null]`, `["fe80::1%eth0"]`, `[1]`}},
		"syslog_server":                   {[]string{`""`, `"log.example.net:514"`}, []string{`"a/b"`, `null`}},
		"sip_registration_expiry_seconds": {[]string{`60`, `3600`}, []string{`59`, `3601`}},
		"codec_order":                     {[]string{`["g729"]`, `["g711a","opus"]`}, []string{`[]`, `["mp3"]`, `["opus","opus"]`, `["Opus"]`}},
		"voicemail_max_minutes":           {[]string{`1`, `60`}, []string{`0`, `61`}},
		"music_on_hold":                   {[]string{`true`, `false`}, []string{`"on"`, `1`, `null`}},
		"maintenance_window":              {[]string{`""`, `"23:30-01:00"`}, []string{`"24:00-01:00"`, `"1:00-2:00"`, `"01:00"`}},
		"contact_days":                    {[]string{`1`, `365`}, []string{`0`, `366`}},
		"calls_per_day":                   {[]string{`0`, `10000`}, []string{`-1`, `10001`}},
		"calldata_id_zero":                {[]string{`true`}, []string{`0`}},
	} {
		seen[key] = true
		for _, good := range tt.good {
			s := Default()
			if wrong := Apply(&s, map[string]json.RawMessage{key: []byte(good)}); len(wrong) > 0 {
				t.Errorf("%s = %s: %v", key, good, wrong)
			}
			f, _ := Of(key)
			if got, err := json.Marshal(f.Value(&s)); err != nil || string(got) != good {
				t.Errorf("%s is %s, want %s", key, got, good)
			}
			again := Default()
			f.SetText(&again, f.Text(&s))
			if d := Diff(&s, &again); len(d) > 0 {
				t.Errorf("%s as text: %+v", key, d)
			}
		}
		for _, bad := range tt.bad {
			s := Default()
			wrong := Apply(&s, map[string]json.RawMessage{key: []byte(bad)})
			if len(wrong) != 1 || wrong[0].Key != key || wrong[0].Problem == "" {
				t.Errorf("%s = %s: %v", key, bad, wrong)
			}
		}
	}
	for _, f := range Fields() {
		if !seen[f.Key] {
			t.Errorf("nothing is said about %s", f.Key)
		}
		if f.Pattern != "" && !regexp.MustCompile(`^\^.*\$$`).MatchString(f.Pattern) {
			t.Errorf("the pattern of %s is not for the whole text", f.Key)
		}
	}
}

func TestApplyNamesAll(t *testing.T) {
	t.Parallel()
	s := Default()
	wrong := Apply(&s, map[string]json.RawMessage{"language": []byte(`"xx"`), "nope": []byte(`1`), "name": []byte(`"good"`), "contact_days": []byte(`0`)})
	var keys []string
	for _, w := range wrong {
		keys = append(keys, w.Key)
	}
	if !slices.Equal(keys, []string{"contact_days", "language", "nope"}) {
		t.Errorf("%v", wrong)
	}
}

// TestCopies: a change of one is not seen in another.
func TestCopies(t *testing.T) {
	t.Parallel()
	a := Default()
	b := a // not a clone: Apply does not write into shared lists
	if wrong := Apply(&b, map[string]json.RawMessage{"codec_order": []byte(`["g729","g722"]`)}); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if d := Diff(&a, &b); len(d) != 1 || d[0].Key != "codec_order" || !RestartNeeded(d) || a.CodecOrder[0] != "opus" {
		t.Errorf("%+v, %v", d, a.CodecOrder)
	}
	old, now := Diff(&a, &b)[0].Texts()
	if old != "opus, g722, g711a, g711u" || now != "g729, g722" {
		t.Errorf("%q and %q", old, now)
	}
	c := a.Clone()
	c.CodecOrder[0], c.MusicOnHold, c.DNSServers = "x", false, nil
	if a.CodecOrder[0] != "opus" {
		t.Error("the clone shares a list")
	}
	c.CodecOrder = a.CodecOrder
	if d := Diff(&a, &c); len(d) != 1 || d[0].Key != "music_on_hold" || RestartNeeded(d) {
		t.Errorf("%+v", d)
	}
}

func TestFormsRefuse(t *testing.T) {
	t.Parallel()
	s := Default()
	for _, f := range Fields() {
		if f.Type == Integer {
			f.SetText(&s, "many")
		}
	}
	if wrong := Check(&s); len(wrong) != 5 {
		t.Errorf("%v", wrong)
	}
}

// FuzzApply: what is set fits, whatever is asked for.
func FuzzApply(f *testing.F) {
	f.Add("name", []byte(`"x"`))
	f.Add("codec_order", []byte(`["opus"]`))
	f.Add("ntp_interval_minutes", []byte(`5`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		s := Default()
		if wrong := Apply(&s, map[string]json.RawMessage{key: value}); len(wrong) == 0 {
			if wrong := Check(&s); len(wrong) > 0 {
				t.Errorf("%s = %q: %v", key, value, wrong)
			}
		}
	})
}
