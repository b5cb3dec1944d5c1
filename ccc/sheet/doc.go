// Package sheet makes sheets to print with the tokens of offers, as PDF: A4, eight cards to
// a page with lines to cut along. A card has what somebody needs at the PBX: which one it
// is, who wants to connect, the token in letters and as a QR code, the number to compare,
// until when it counts, and where it is typed.
//
//	err := sheet.Sheet{Tenant: "Example GmbH", Language: "de", Zone: time.Local, Cards: cards}.Write(w)
//
// Nothing is kept and no file is written. The font is Liberation Sans, of which the
// characters that occur are in the PDF (SIL Open Font License 1.1, in LICENSE-SIL of
// codeberg.org/go-fonts/liberation).
package sheet
