package token

import "strings"

// qrPrefix names the format and its version.
const qrPrefix = "CCC1:"

// maxOffer bounds the length of an offer's id in a QR code.
const maxOffer = 64

// QR is the text of the QR code for an offer: CCC1:<offer id>:<token>.
func QR(offer string, t Token) string {
	return qrPrefix + offer + ":" + t.Reveal()
}

// ParseQR reads what [QR] writes. Errors are [ErrQR] or those of [Parse].
func ParseQR(s string) (offer string, t Token, err error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), qrPrefix)
	if !ok {
		return "", Token{}, ErrQR
	}
	offer, typed, ok := strings.Cut(rest, ":")
	if !ok || !offerID(offer) {
		return "", Token{}, ErrQR
	}
	if t, err = Parse(typed); err != nil {
		return "", Token{}, err
	}
	return offer, t, nil
}

// offerID reports whether the text can be the id of an offer: letters, digits and
// dashes.
func offerID(s string) bool {
	if s == "" || len(s) > maxOffer {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}
