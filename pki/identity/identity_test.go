package identity_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const td = identity.DefaultTrustDomain

func TestParseSerial(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"0123456789":         true,
		"0000000000":         true,
		"123456789":          false, // not the same device as 0123456789
		"01234567890":        false,
		"":                   false,
		"012345678a":         false,
		"012345678 ":         false,
		"+123456789":         false,
		"٠١٢٣٤٥٦٧٨٩":         false, // digits, but not ASCII
		"\x00123456789":      false,
		"0123456789\n":       false,
		"s0123456789.pbx.td": false,
	} {
		got, err := identity.ParseSerial(s)
		if ok && (err != nil || string(got) != s) {
			t.Errorf("ParseSerial(%q) = %q, %v", s, got, err)
		}
		if !ok && !errors.Is(err, identity.ErrMalformed) {
			t.Errorf("ParseSerial(%q) = %q, %v, want %v", s, got, err, identity.ErrMalformed)
		}
	}
}

func TestLeadingZeroMatters(t *testing.T) {
	t.Parallel()
	a, b := identity.Device(td, "0123456789"), identity.Device(td, "123456789")
	if a == b || a.Path() == b.Path() || a.DNSName() == b.DNSName() {
		t.Errorf("%s and %s are mixed up", a, b)
	}
	if a.Validate() != nil || b.Validate() == nil {
		t.Error("only the ten-digit form is a serial")
	}
}

func TestParseTrustDomain(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"comtrexx.test":                 true,
		"a":                             true,
		"a-b.c0":                        true,
		"":                              false,
		".":                             false,
		"a..b":                          false,
		".a":                            false,
		"a.":                            false,
		"-a.b":                          false,
		"A.b":                           false,
		"a_b":                           false,
		"a b":                           false,
		"a/b":                           false,
		"a:443":                         false,
		"10.0.0.1":                      false,
		"::1":                           false,
		strings.Repeat("a.", 92):        false,
		strings.Repeat("a", 64):         false,
		strings.Repeat("a.", 91) + "a":  true, // 183 bytes
		strings.Repeat("a.", 91) + "aa": false,
	} {
		if _, err := identity.ParseTrustDomain(s); (err == nil) != ok {
			t.Errorf("ParseTrustDomain(%q) = %v, want ok %v", s, err, ok)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id        identity.ID
		uri, path string
		dns       []string
		serial    identity.Serial
	}{
		{
			identity.Device(td, "0123456789"), "spiffe://comtrexx.test/device/0123456789", "device/0123456789",
			[]string{"s0123456789.pbx.comtrexx.test"},
			"0123456789",
		},
		{identity.Service(td, "ccc"), "spiffe://comtrexx.test/service/ccc", "service/ccc", []string{"ccc.svc.comtrexx.test"}, ""},
		{
			identity.Relay(td, "r-1"), "spiffe://comtrexx.test/relay/r-1", "relay/r-1",
			[]string{"r-1.relay.comtrexx.test", "relay.comtrexx.test"},
			"",
		},
		{identity.Authority(td, identity.KindDevice), "spiffe://comtrexx.test/authority/device", "authority/device", nil, ""},
	} {
		if got := c.id.String(); got != c.uri {
			t.Errorf("String() = %q, want %q", got, c.uri)
		}
		if got := c.id.Path(); got != c.path {
			t.Errorf("Path() = %q, want %q", got, c.path)
		}
		if got := strings.Join(c.id.DNSNames(), " "); got != strings.Join(c.dns, " ") {
			t.Errorf("%s: DNSNames() = %q, want %q", c.id, got, c.dns)
		}
		if got := c.id.Serial(); got != c.serial {
			t.Errorf("%s: Serial() = %q, want %q", c.id, got, c.serial)
		}
		if err := c.id.Validate(); err != nil {
			t.Errorf("%s: %v", c.id, err)
		}
		if got, err := identity.ParsePath(td, c.path); err != nil || got != c.id {
			t.Errorf("ParsePath(%q) = %s, %v", c.path, got, err)
		}
		if got, err := identity.ParseURI(c.id.URI()); err != nil || got != c.id {
			t.Errorf("ParseURI(%q) = %s, %v", c.uri, got, err)
		}
	}
	if got := (identity.ID{}).String(); got != "nobody" {
		t.Errorf("the zero ID is %q", got)
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"",
		"spiffe://",
		"spiffe://comtrexx.test",
		"spiffe://comtrexx.test/",
		"spiffe://comtrexx.test/device",
		"spiffe://comtrexx.test/device/",
		"spiffe://comtrexx.test/device/123456789",
		"spiffe://comtrexx.test/device/0123456789/",
		"spiffe://comtrexx.test/device/0123456789/x",
		"spiffe://comtrexx.test/device/0123456789?",
		"spiffe://comtrexx.test/device/0123456789?a=b",
		"spiffe://comtrexx.test/device/0123456789#x",
		"spiffe://comtrexx.test/device/%30123456789",
		"spiffe://comtrexx.test//device/0123456789",
		"spiffe://comtrexx.test/../device/0123456789",
		"spiffe://comtrexx.test:443/device/0123456789",
		"spiffe://u@comtrexx.test/device/0123456789",
		"spiffe://u:p@comtrexx.test/device/0123456789",
		"spiffe://COMTREXX.test/device/0123456789",
		"spiffe:comtrexx.test/device/0123456789",
		"https://comtrexx.test/device/0123456789",
		"spiffe://comtrexx.test/Device/0123456789",
		"spiffe://comtrexx.test/unknown/0123456789",
		"spiffe://comtrexx.test/service/",
		"spiffe://comtrexx.test/service/-x",
		"spiffe://comtrexx.test/service/a.b",
		"spiffe://comtrexx.test/authority/authority",
		"spiffe://comtrexx.test/authority/x",
	} {
		u, err := url.Parse(uri)
		if err != nil {
			t.Errorf("test is wrong: %q: %v", uri, err)
			continue
		}
		if id, err := identity.ParseURI(u); !errors.Is(err, identity.ErrMalformed) {
			t.Errorf("ParseURI(%q) = %s, %v, want %v", uri, id, err, identity.ErrMalformed)
		}
	}
	if _, err := identity.ParseURI(nil); !errors.Is(err, identity.ErrMalformed) {
		t.Errorf("ParseURI(nil): %v", err)
	}
	for _, path := range []string{"", "/", "device", "/device/0123456789", "device/0123456789/", "kind/x"} {
		if id, err := identity.ParsePath(td, path); err == nil {
			t.Errorf("ParsePath(%q) = %s", path, id)
		}
	}
	if err := (identity.ID{}).Validate(); err == nil {
		t.Error("the zero ID is valid")
	}
}

func TestParseDeviceDNSName(t *testing.T) {
	t.Parallel()
	if s, err := identity.ParseDeviceDNSName(td, "s0123456789.pbx.comtrexx.test"); err != nil || s != "0123456789" {
		t.Errorf("got %q, %v", s, err)
	}
	for _, host := range []string{
		"", "s.pbx.comtrexx.test", "0123456789.pbx.comtrexx.test", "s0123456789.pbx.other.test",
		"s0123456789.svc.comtrexx.test", "x.s0123456789.pbx.comtrexx.test", "ss0123456789.pbx.comtrexx.test",
		"s123456789.pbx.comtrexx.test", "s0123456789.pbx.comtrexx.test.", "s0123456789.pbx.comtrexx.test:443",
	} {
		if s, err := identity.ParseDeviceDNSName(td, host); !errors.Is(err, identity.ErrMalformed) {
			t.Errorf("ParseDeviceDNSName(%q) = %q, %v", host, s, err)
		}
	}
}
