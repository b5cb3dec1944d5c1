package identity_test

import (
	"net/url"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{
		"spiffe://comtrexx.test/device/0123456789", "spiffe://comtrexx.test/service/ccc?x", "spiffe://a@b:1/relay/r#",
		"spiffe://comtrexx.test/device/%30123456789", "spiffe:opaque", "//x/y",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		id, err := identity.ParseURI(u)
		if err != nil {
			return
		}
		if id.Validate() != nil || id.String() != u.String() {
			t.Errorf("%q read as %s (%v)", s, id, id.Validate())
		}
		if again, err := identity.ParsePath(id.TrustDomain, id.Path()); err != nil || again != id {
			t.Errorf("%s: path does not read back: %s, %v", id, again, err)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"device/0123456789", "service/ccc", "relay/r1", "authority/device", "device//", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := identity.ParsePath(td, s)
		if err != nil {
			return
		}
		if id.Path() != s {
			t.Errorf("%q read as %q", s, id.Path())
		}
		if again, err := identity.ParseURI(id.URI()); err != nil || again != id {
			t.Errorf("%s: URI does not read back: %s, %v", id, again, err)
		}
	})
}

func FuzzParseSerial(f *testing.F) {
	for _, s := range []string{"0123456789", "123456789", "٠١٢٣٤٥٦٧٨٩", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		serial, err := identity.ParseSerial(s)
		if err != nil {
			return
		}
		id := identity.Device(td, serial)
		if back, err := identity.ParseDeviceDNSName(td, id.DNSName()); err != nil || back != serial || string(serial) != s {
			t.Errorf("%q: %q, %q, %v", s, serial, back, err)
		}
	})
}

func FuzzParseDeviceDNSName(f *testing.F) {
	for _, s := range []string{"s0123456789.pbx.comtrexx.test", "s.pbx.comtrexx.test", ".pbx.comtrexx.test", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		serial, err := identity.ParseDeviceDNSName(td, host)
		if err != nil {
			return
		}
		if got := identity.Device(td, serial).DNSName(); got != host {
			t.Errorf("%q read as %q", host, got)
		}
	})
}
