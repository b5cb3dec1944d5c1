package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// must parses a token that a test wrote down.
func must(t *testing.T, s string) Token {
	t.Helper()
	tok, err := Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return tok
}

// TestVectors fixes the check character: other programs may have to make it.
func TestVectors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		raw  [Len - 1]byte
		want string
	}{
		{[11]byte{}, "0000-0000-0000"},
		{[11]byte{0: 1}, "1000-0000-000C"},
		{[11]byte{10: 1}, "0000-0000-001J"},
		{[11]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, "0123-4567-89A5"},
		{[11]byte{31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31}, "ZZZZ-ZZZZ-ZZZ5"},
		{[11]byte{20, 3, 17, 9, 28, 0, 5, 31, 12, 22, 8}, "M3H9-W05Z-CP8G"},
	} {
		if got := fromSymbols(tt.raw).Reveal(); got != tt.want {
			t.Errorf("symbols %v: %s, want %s", tt.raw, got, tt.want)
		}
		if got := must(t, tt.want).Reveal(); got != tt.want {
			t.Errorf("Parse(%s) gives %s", tt.want, got)
		}
	}
}

func TestNewIsRandomAndParses(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var count [32]int
	for range 2000 {
		s := New().Reveal()
		if len(s) != Len+2 || seen[s] {
			t.Fatalf("token has %d bytes, seen before: %v", len(s), seen[s])
		}
		seen[s] = true
		if must(t, strings.ToLower(s)).Reveal() != s {
			t.Fatal("lower case is another token")
		}
		count[strings.IndexByte(Alphabet, s[0])]++
	}
	for v, n := range count {
		if n == 0 {
			t.Errorf("no token of 2000 starts with %c", Alphabet[v])
		}
	}
}

// TestEverySubstitutionIsFound changes each character of many tokens to each other
// one.
func TestEverySubstitutionIsFound(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	n := 0
	for range 2000 {
		chars := []byte(strings.ReplaceAll(random(rng).Reveal(), "-", ""))
		for i := range chars {
			was := chars[i]
			for _, c := range []byte(Alphabet) {
				if c == was {
					continue
				}
				chars[i] = c
				if _, err := Parse(string(chars)); !errors.Is(err, ErrCheck) {
					t.Fatalf("character %d changed: %v", i+1, err)
				}
				n++
			}
			chars[i] = was
		}
	}
	if n != 2000*Len*31 {
		t.Fatalf("%d substitutions tried", n)
	}
}

// TestEverySwapIsFound changes any two different characters for one another.
func TestEverySwapIsFound(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	n := 0
	for range 2000 {
		chars := []byte(strings.ReplaceAll(random(rng).Reveal(), "-", ""))
		for i := range chars {
			for j := range i {
				if chars[i] == chars[j] {
					continue
				}
				chars[i], chars[j] = chars[j], chars[i]
				if _, err := Parse(string(chars)); !errors.Is(err, ErrCheck) {
					t.Fatalf("characters %d and %d swapped: %v", j+1, i+1, err)
				}
				chars[i], chars[j] = chars[j], chars[i]
				n++
			}
		}
	}
	if n < 100_000 {
		t.Fatalf("%d swaps tried", n)
	}
}

// random draws a token of a seeded source.
func random(rng *rand.Rand) Token {
	var raw [Len - 1]byte
	for i := range raw {
		raw[i] = byte(rng.UintN(32))
	}
	return fromSymbols(raw)
}

func TestParseTakesWhatPeopleType(t *testing.T) {
	t.Parallel()
	const want = "0123-4567-89A5"
	for _, s := range []string{
		"0123456789A5", "0123456789a5", " 0123 4567 89a5\n", "o1234567-89A5", "OI23-4567-89a5",
		"ol23–4567—89a5", "0 1 2 3 4 5 6 7 8 9 A 5", "0123\u00a04567\u202f89A5",
	} {
		got, err := Parse(s)
		if err != nil || got.Reveal() != want {
			t.Errorf("Parse(%q): %v", s, err)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want error
		pos  int
	}{
		{"", ErrLength, 0},
		{"0123-4567-89A", ErrLength, 0},
		{"0123-4567-89A5G", ErrLength, 0},
		{"U123-4567-89A", ErrLength, 0},
		{strings.Repeat(" ", maxInput) + "0123-4567-89A5", ErrLength, 0},
		{"0123-4567-89AU", ErrSymbol, 12},
		{"U123-4567-89A5", ErrSymbol, 1},
		{"01é3-4567-89A!", ErrSymbol, 3},
		{"0123_45678-9A", ErrSymbol, 5},
		{"0123-4567-89AH", ErrCheck, 0},
		{"1023-4567-89A5", ErrCheck, 0},
	} {
		got, err := Parse(tt.in)
		if !errors.Is(err, tt.want) || !got.IsZero() {
			t.Errorf("Parse(%q): %v, want %v", tt.in, err, tt.want)
		}
		if sym := (*SymbolError)(nil); errors.As(err, &sym) != (tt.pos > 0) || sym != nil && sym.Position != tt.pos {
			t.Errorf("Parse(%q): position in %v, want %d", tt.in, err, tt.pos)
		}
	}
}

// TestNothingPrintsIt tries every way in which a value gets into a log or an
// encoding. Reveal is the positive control: the same search finds it.
func TestNothingPrintsIt(t *testing.T) {
	t.Parallel()
	tok := New()
	type holder struct {
		hidden Token
		Shown  Token
		Ptr    *Token
		Any    any
	}
	h := holder{tok, tok, &tok, tok}
	var out bytes.Buffer
	for _, v := range []any{tok, &tok, h, &h, []Token{tok}, map[string]Token{"t": tok}, []any{h}, fmt.Errorf("no: %v", tok)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		for _, asJSON := range []bool{false, true} {
			hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: asJSON}).Info("x", "v", v)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Fatal("the placeholder does not show")
	}
	for _, secret := range leaks(tok) {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the output has %q", secret)
		}
	}
	fmt.Fprintf(&out, "%s %s", tok.Reveal(), strings.ReplaceAll(tok.Reveal(), "-", ""))
	for _, secret := range leaks(tok)[:2] {
		if !strings.Contains(out.String(), secret) {
			t.Error("the search finds nothing")
		}
	}
}

// leaks are the forms in which the characters could show.
func leaks(t Token) []string {
	chars := strings.ReplaceAll(t.Reveal(), "-", "")
	return []string{
		t.Reveal(), chars,
		fmt.Sprintf("%x", chars), fmt.Sprintf("%X", chars),
		strings.Trim(fmt.Sprintf("%d", []byte(chars)), "[]"),
	}
}

func TestQR(t *testing.T) {
	t.Parallel()
	if got := QR("018f-abc", must(t, "0123-4567-89a5")); got != "CCC1:018f-abc:0123-4567-89A5" {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0123-4567-89A5", "0123-4567-89AH", "", "o-l i", "CCC1:018f-abc:0123-4567-89A5", "\xff", "Ⅰ23"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if tok, err := Parse(s); err == nil {
			again, err := Parse(tok.Reveal())
			if err != nil || again.Reveal() != tok.Reveal() {
				t.Fatalf("%q: not stable: %v", s, err)
			}
		} else if !tok.IsZero() {
			t.Fatalf("%q: a token beside the error %v", s, err)
		}
	})
}
