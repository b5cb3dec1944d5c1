package sheet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func example(language string, cards int) Sheet {
	s := Sheet{Tenant: "Größe & Söhne GmbH, Überlingen", Language: language, Zone: time.FixedZone("CET", 3600), Made: time.Unix(1, 0)}
	for i := range cards {
		s.Cards = append(s.Cards, Card{
			Name: fmt.Sprintf("Café Façade Nr. %d – äöüß éèç œ Łódź", i+1), Serial: fmt.Sprintf("%010d", i+1), Site: "Köln-Süd",
			Token: "7HQ2-M9KD-4TXW", QR: fmt.Sprintf("CCC1:01890a5d-ac96-774b-bcce-%012d:7HQ2-M9KD-4TXW", i), Code: "123 456",
			Expires: time.Date(2026, 11, 27, 16, 4, 0, 0, time.UTC),
		})
	}
	return s
}

func pdf(t *testing.T, s Sheet) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := s.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPages(t *testing.T) {
	t.Parallel()
	for cards, want := range map[int]int{1: 1, 8: 1, 9: 2, 500: 63} {
		text := pdf(t, example("de", cards))
		if n := bytes.Count(text, []byte("/Type /Page\n")); n != want || !bytes.HasPrefix(text, []byte("%PDF-")) {
			t.Errorf("%d cards are on %d pages, want %d", cards, n, want)
		}
	}
	s := example("de", 1)
	s.Cards[0].QR = strings.Repeat("x", 4000)
	if err := s.Write(&bytes.Buffer{}); err == nil {
		t.Error("a QR code of 4000 letters is drawn")
	}
}

// TestTexts reads what a program for PDF finds in each language, and what its picture says
// to one for QR codes.
func TestTexts(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"pdftotext", "pdftoppm", "zbarimg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s (apt-get install poppler-utils zbar-tools)", tool)
		}
	}
	for language, words := range map[string][]string{
		"de": {"Seriennummer: 0000000001", "Gültig bis: 27.11.2026, 17:04 CET", "Größe & Söhne GmbH", "„COMtrexx", "Seite 1 von 2"},
		"en": {"Serial number: 0000000001", "Valid until: 27 Nov 2026, 17:04 CET", "Page 1 of 2"},
		"fr": {"Numéro de série: 0000000001", "Valable jusqu’au: 27/11/2026, 17:04 CET", "Site: Köln-Süd", "Page 1 sur 2"},
		"xx": {"Comparison number: 123 456"},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "sheet.pdf")
			s := example(language, 9)
			s.Cards[1].Name = strings.Repeat("Very long name ", 10)
			if err := os.WriteFile(file, pdf(t, s), 0o600); err != nil {
				t.Fatal(err)
			}
			if keep := os.Getenv("SHEET_KEEP"); keep != "" {
				if err := os.WriteFile(filepath.Join(keep, language+".pdf"), pdf(t, s), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			run := func(name string, args ...string) string {
				t.Helper()
				out, err := exec.CommandContext(t.Context(), name, args...).Output()
				if err != nil {
					t.Fatal(name, err)
				}
				return string(out)
			}
			text := run("pdftotext", "-layout", file, "-")
			for _, want := range append(words, "Café Façade Nr. 1 – äöüß", "Łódź", "7HQ2-M9KD-4TXW", "Very long name") {
				if !strings.Contains(text, want) {
					t.Errorf("there is no %q in\n%s", want, text)
				}
			}
			if strings.Contains(text, s.Cards[1].Name) || !strings.Contains(text, "…") {
				t.Error("a name that is too long is not shortened")
			}
			run("pdftoppm", "-r", "110", "-png", "-f", "1", "-l", "1", file, strings.TrimSuffix(file, ".pdf"))
			found, _ := filepath.Glob(strings.TrimSuffix(file, ".pdf") + "*.png")
			codes := run("zbarimg", "-q", "--raw", found[0])
			for _, c := range s.Cards[:8] {
				if !strings.Contains(codes, c.QR) {
					t.Errorf("the QR code %q is not read from the page; those are\n%s", c.QR, codes)
				}
			}
		})
	}
}
