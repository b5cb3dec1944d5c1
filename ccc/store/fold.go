package store

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// fold takes letters to a form in which case and accents do not count: Müller, MULLER
// and muller are the same, and so are Straße and STRASSE.
func fold(s string) string {
	s = cases.Fold().String(norm.NFKD.String(s))
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, s)
}

// sortKey gives bytes that sort as people sort names: by [fold], and with numbers by
// their value, so that "PBX 9" comes before "PBX 10". A number is written as '0', the
// count of its digits, and its digits.
func sortKey(name string) []byte {
	name = fold(name)
	var key []byte
	for name != "" {
		n := strings.IndexFunc(name, func(r rune) bool { return r < '0' || r > '9' })
		if n < 0 {
			n = len(name)
		}
		if n == 0 {
			key, name = append(key, name[0]), name[1:]
			continue
		}
		digits := strings.TrimLeft(name[:n], "0")
		key = append(append(key, '0', byte(min(len(digits), 255))), digits...)
		name = name[n:]
	}
	return key
}

// searchText is what a search looks through.
func searchText(s System) string {
	return fold(strings.Join(append([]string{s.Name, string(s.Serial), s.Note}, s.Tags...), "\n"))
}

// likes gives a pattern for LIKE … ESCAPE '!' for each word of a query.
func likes(query string) []string {
	words := strings.Fields(fold(query))
	for i, w := range words {
		words[i] = "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(w) + "%"
	}
	return words
}
