package token

// qrPrefix names the format and its version.
const qrPrefix = "CCC1:"

// QR is the text of the QR code for an offer: CCC1:<offer id>:<token>.
func QR(offer string, t Token) string {
	return qrPrefix + offer + ":" + t.Reveal()
}
