package api

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

func FuzzETag(f *testing.F) {
	for _, s := range []string{`"1"`, "*", "", `W/"1"`, `"`, `"9223372036854775808"`, `"-1"`, `"01"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		version, err := parseETag(text)
		switch {
		case err != nil && version != 0, version < 0:
			t.Errorf("%q gives %d, %v", text, version, err)
		case err == nil && version == 0 && text != "*":
			t.Errorf("%q is taken for any version", text)
		case version > 0 && strings.TrimLeft(text, `"0+`) != strings.TrimLeft(etag(version), `"0+`):
			t.Errorf("%q gives %d", text, version)
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"", "a", "A:1", "[::1]:8080", "::1", "a.b.", "[", "]:", "127.0.0.1.evil.example:80", "localhost."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host := hostOf(&http.Request{Host: text})
		if host != strings.ToLower(host) {
			t.Errorf("%q gives %q", text, host)
		}
		if configs.IsLoopback(host) && !strings.Contains(strings.ToLower(text), host) {
			t.Errorf("%q is taken for %q", text, host)
		}
	})
}

func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", "203.0.113.7", "203.0.113.7:80, 10.0.0.1", "[2001:db8::1]:1,::1", ",,", "unknown, 10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1"} {
		f.Add(s)
	}
	proxy, trusted := netip.MustParseAddr("10.0.0.9"), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, text string) {
		client := clientOf(proxy, []string{text}, trusted)
		if !client.IsValid() || client.Zone() != "" || client.Is4In6() {
			t.Fatalf("%q gives %s", text, client)
		}
		// The last that a proxy has added decides where it is no proxy.
		if got := clientOf(proxy, []string{text, "192.0.2.1"}, trusted); got != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("%q and an address give %s", text, got)
		}
		if _, ok := parseAddr(strings.TrimSpace(text)); !ok && !strings.Contains(text, ",") && client != proxy {
			t.Errorf("%q gives %s", text, client)
		}
	})
}

// TestFieldErrors holds the codes against huma's messages: an update of huma that words
// them in another way is seen here.
func TestFieldErrors(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]FieldError{
		"expected required property serial to be present": {"body.serial", FieldRequired, "is missing"},
		validation.MsgUnexpectedProperty:                  {"body", FieldUnknown, validation.MsgUnexpectedProperty},
		"expected length >= 3":                            {"body", FieldTooShort, "expected length >= 3"},
		"expected length <= 3":                            {"body", FieldTooLong, "expected length <= 3"},
		"expected array length <= 3":                      {"body", FieldTooMany, "expected array length <= 3"},
		"expected string to be a serial: ten digits":      {"body", FieldPattern, "expected string to be a serial: ten digits"},
		`expected value to be one of "a, b"`:              {"body", FieldEnum, `expected value to be one of "a, b"`},
		"expected number >= 1":                            {"body", FieldRange, "expected number >= 1"},
		"something new":                                   {"body", FieldInvalid, "something new"},
	} {
		if got := fieldError("body", message); got != want {
			t.Errorf("%s: got %+v, want %+v", message, got, want)
		}
	}
}
