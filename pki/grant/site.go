package grant

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// SameSite reports whether browsers let one of two hosts set cookies that the other one
// gets: whether they have a registrable domain in common (https://publicsuffix.org). What
// is not on the list counts by its last two labels. The hosts of the control centre and
// of the gateway must not be of the same site, so that no script of a PBX reaches the
// control centre; both check it.
func SameSite(a, b string) bool { return site(a) == site(b) }

func site(host string) string {
	host = strings.ToLower(host)
	if s, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return s
	}
	return host // a suffix itself
}
