// Package token is the pairing token: what the control centre shows, and what the
// administrator of a PBX types there.
//
// It is 12 characters in three groups, XXXX-XXXX-XXXX, of Crockford's base32
// alphabet 0-9A-HJKMNP-TV-Z (no I, L, O, U). Eleven are random, 55 bits; the last
// one makes
//
//	symbol[0]*alpha^0 + symbol[1]*alpha^1 + … + symbol[11]*alpha^11 = 0
//
// in GF(32) with x^5+x^2+1, where alpha is x and a symbol is the character's place
// in the alphabet. Powers of alpha repeat after 31, so one wrong character, and two
// characters changed for one another at whatever places, are always found: a typing
// error is told from a wrong token without asking anybody.
//
// A Token keeps its characters from loggers and encoders: it prints as
// token(redacted) whatever the verb, also inside of other values, and only
// [Token.Reveal] gives them.
//
// The package imports the standard library only.
package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
)

// Alphabet lists the characters of a token; a character's value is its place.
const Alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Len is the number of characters of a token without its dashes.
const Len = 12

// groupLen is the number of characters between two dashes.
const groupLen = 4

// maxInput bounds what [Parse] looks at, in bytes: a token with much space in it.
const maxInput = 128

// redacted is what a token prints as.
const redacted = "token(redacted)"

// Errors of [Parse]. They never hold what was typed.
var (
	// ErrLength: there are more or fewer than [Len] characters.
	ErrLength = errors.New("a token has 12 characters")
	// ErrSymbol: a character is not of the [Alphabet]; see [SymbolError].
	ErrSymbol = errors.New("not a character of a token")
	// ErrCheck: the characters do not fit together: one is wrong, or two changed
	// places.
	ErrCheck = errors.New("a character of the token is wrong, or two are swapped")
)

// SymbolError tells which character is not of the alphabet. It is an [ErrSymbol].
type SymbolError struct {
	// Position counts characters from 1, without space and dashes.
	Position int
}

func (e *SymbolError) Error() string {
	return fmt.Sprintf("character %d is %s; it has to be a digit or a letter other than I, L, O and U", e.Position, ErrSymbol)
}

// Unwrap gives [ErrSymbol].
func (e *SymbolError) Unwrap() error { return ErrSymbol }

// Token is one token. The zero value is none. Tokens are immutable and may be
// copied. They are not to be compared: a PBX compares hashes, the control centre proofs.
type Token struct {
	// chars is a function so that a struct that holds a Token in an unexported field,
	// where fmt calls no method, prints as an address. Pointers do not do: some verbs
	// follow them.
	chars func() [Len]byte
}

// newToken holds the characters.
func newToken(chars [Len]byte) Token {
	return Token{chars: func() [Len]byte { return chars }}
}

// New draws a token from crypto/rand.
func New() Token {
	var raw [Len - 1]byte
	rand.Read(raw[:]) // never fails (crypto/rand)
	return fromSymbols(raw)
}

// fromSymbols adds the check character. Only the low five bits of a symbol count.
func fromSymbols(raw [Len - 1]byte) Token {
	var values [Len]byte
	for i, b := range raw {
		values[i] = b & 31
	}
	// sum + c*alpha^11 = 0, and minus is plus here.
	values[Len-1] = mul(sum(values), pow(31-(Len-1)))
	var chars [Len]byte
	for i, v := range values {
		chars[i] = Alphabet[v]
	}
	return newToken(chars)
}

// Parse reads a token as people type it: upper or lower case, with or without space
// and dashes, with I and L for 1 and O for 0.
func Parse(s string) (Token, error) {
	if len(s) > maxInput {
		return Token{}, ErrLength
	}
	var values, chars [Len]byte
	var bad error
	n := 0
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			continue
		}
		if n < Len && bad == nil {
			v := strings.IndexRune(Alphabet, canonical(r))
			if v < 0 {
				bad = &SymbolError{Position: n + 1}
			} else {
				values[n], chars[n] = byte(v), Alphabet[v]
			}
		}
		n++
	}
	switch {
	case n != Len:
		return Token{}, ErrLength
	case bad != nil:
		return Token{}, bad
	case sum(values) != 0:
		return Token{}, ErrCheck
	}
	return newToken(chars), nil
}

// canonical maps a typed character to the one of the alphabet that it stands for.
func canonical(r rune) rune {
	if 'a' <= r && r <= 'z' {
		r -= 'a' - 'A'
	}
	switch r {
	case 'I', 'L':
		return '1'
	case 'O':
		return '0'
	}
	return r
}

// Reveal gives the token as it is shown: XXXX-XXXX-XXXX; empty for the zero Token.
// Keys and hashes are made of this form too.
func (t Token) Reveal() string {
	if t.chars == nil {
		return ""
	}
	chars := t.chars()
	c := string(chars[:])
	return c[:groupLen] + "-" + c[groupLen:2*groupLen] + "-" + c[2*groupLen:]
}

// IsZero reports whether this is no token.
func (t Token) IsZero() bool { return t.chars == nil }

// String gives a placeholder.
func (t Token) String() string { return redacted }

// GoString gives a placeholder.
func (t Token) GoString() string { return redacted }

// Format writes a placeholder for every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue gives a placeholder.
func (t Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives a placeholder.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives a placeholder: what may show the token says so with
// [Token.Reveal].
func (t Token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
