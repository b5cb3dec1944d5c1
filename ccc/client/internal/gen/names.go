package gen

import (
	"go/token"
	"strings"
	"unicode"
)

// capitals are words that Go writes in capitals.
var capitals = map[string]string{
	"id": "ID", "ids": "IDs", "url": "URL", "qr": "QR", "totp": "TOTP", "rtt": "RTT", "csv": "CSV", "api": "API", "http": "HTTP",
	"pdf": "PDF", "oidc": "OIDC", "sha256": "SHA256", "ip": "IP", "ntp": "NTP", "dns": "DNS", "sip": "SIP", "etag": "ETag",
}

// words divides a name at dashes, underscores, dots and capitals.
func words(name string) []string {
	var all []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			all = append(all, word.String())
			word.Reset()
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			continue
		case unicode.IsUpper(r) && (i == 0 || !unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			end()
		}
		word.WriteRune(r)
	}
	end()
	return all
}

// public gives the exported Go name.
func public(name string) string {
	var out strings.Builder
	for _, w := range words(name) {
		if c, ok := capitals[strings.ToLower(w)]; ok {
			out.WriteString(c)
			continue
		}
		out.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return out.String()
}

// private gives the Go name of an argument.
func private(name string) string {
	all := words(name)
	first := strings.ToLower(all[0])
	rest := public(strings.Join(all[1:], "_"))
	if token.IsKeyword(first + rest) {
		return first + "_"
	}
	return first + rest
}

// sentence is a comment: the text in lines, the first one beginning with the name.
func sentence(indent, text string) string {
	const width = 96
	var out strings.Builder
	line := indent + "//"
	for w := range strings.FieldsSeq(text) {
		if len(line)+len(w) >= width && line != indent+"//" {
			out.WriteString(line + "\n")
			line = indent + "//"
		}
		line += " " + w
	}
	out.WriteString(line + "\n")
	return out.String()
}
