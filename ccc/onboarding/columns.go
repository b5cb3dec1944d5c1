package onboarding

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Column of a list.
type Column string

// The columns.
const (
	Serial Column = "serial"
	Name   Column = "name"
	Note   Column = "note"
	Site   Column = "site"
	Groups Column = "groups"
	Tags   Column = "tags"
)

// names of the columns, as [plain] makes them.
var names = map[Column][]string{
	Serial: {"serial", "serialnumber", "serialno", "sn", "seriennummer", "seriennr", "numerodeserie", "nodeserie", "ndeserie", "serie"},
	Name:   {"name", "systemname", "bezeichnung", "anlage", "nom", "designation"},
	Note:   {"note", "notes", "comment", "notiz", "notizen", "bemerkung", "kommentar", "remarque", "commentaire"},
	Site:   {"site", "location", "standort", "ort", "emplacement", "lieu"},
	Groups: {"groups", "group", "gruppen", "gruppe", "groupes", "groupe"},
	Tags:   {"tags", "tag", "labels", "schlagworter", "schlagworte", "etiquettes", "etiquette", "motscles"},
}

// plain leaves of a heading only its letters, small and without accents.
func plain(heading string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKD.String(heading))
}

// columnOf gives the column of a heading; empty: it is none of ours.
func columnOf(heading string) Column {
	word := plain(heading)
	for column, all := range names {
		if slices.Contains(all, word) {
			return column
		}
	}
	return ""
}
