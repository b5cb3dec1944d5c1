// Package onboarding reads lists of systems that somebody wants to add, as spreadsheets
// write them.
//
//	list, err := onboarding.Parse(text, 500)
//
// A list is CSV (RFC 4180) in UTF-8, with a mark for the order of bytes or without, and
// with CRLF or LF. Fields are divided at commas, semicolons or tabs: at what a line "sep=;"
// before the others says, as Excel writes it, or otherwise at what the first line uses. That
// names the columns, in any order and in English, German or French:
//
//	serial  serial number, Seriennummer, numéro de série, …   needed
//	name    Name, Bezeichnung, nom, …                         needed
//	note    note, Notiz, Bemerkung, remarque, …
//	site    site, Standort, emplacement, …
//	groups  groups, Gruppen, groupes                          several, divided at "|"
//	tags    tags, Schlagwörter, étiquettes                    several, divided at "|"
//
// Several groups or tags are divided at "|" where there is one, and otherwise at ",". What
// other columns hold is left out; they are named in [List].Ignored.
//
// What is wrong with a line is said at the line, and the others are read all the same: also
// those after a quotation mark that is not closed, which is said at the line where it is.
package onboarding
