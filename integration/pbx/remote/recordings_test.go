package remote

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestRecordings: without the administrator's key none is taken; with it, those that are
// sealed, the last ones of which are kept for this owner.
func TestRecordings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	rec, ok := w.Gateway().(ara.Recorder)
	if !ok {
		t.Fatal("the PBX takes no recordings")
	}
	r := request("s-1", time.Hour)
	r.Service, r.Target = grant.SSH, "switch"
	if _, err := w.Take(r); err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Recipient(t.Context(), "s-1"); !errors.Is(err, ErrState) {
		t.Errorf("before the consent: %v", err)
	}
	w.allow("s-1", 0)
	take := func(text string) error { return rec.Record(t.Context(), "s-1", strings.NewReader(text)) }
	if to, err := rec.Recipient(t.Context(), "s-1"); to != "" || err != nil {
		t.Errorf("off by default: %q, %v", to, err)
	}
	if err := take(ageHeader + "x"); !errors.Is(err, ara.ErrRecording) || len(w.Recordings()) > 0 {
		t.Errorf("taken though nobody wants it: %v, %v", err, w.Recordings())
	}

	w.set(func(p *Policy) { p.Recording = key.Recipient().String() })
	if to, err := rec.Recipient(t.Context(), "s-1"); to != key.Recipient().String() || err != nil {
		t.Errorf("%q, %v", to, err)
	}
	if err := take(`{"version": 2}`); !errors.Is(err, ara.ErrRecording) || len(w.Recordings()) > 0 {
		t.Errorf("taken though it is not sealed: %v", err)
	}
	for i := range MaxRecordings + 2 {
		if err := take(fmt.Sprintf("%s%d", ageHeader, i)); err != nil {
			t.Fatal(err)
		}
	}
	all := w.Recordings()
	if len(all) != MaxRecordings || all[0].Target != "switch" || all[0].User != "Erika Muster" {
		t.Fatalf("%d, %+v", len(all), all[0])
	}
	for i, one := range map[int]Recording{0: all[0], MaxRecordings - 1: all[MaxRecordings-1]} {
		if text, err := w.Recording(one.Name); string(text) != fmt.Sprintf("%s%d", ageHeader, MaxRecordings+1-i) || err != nil {
			t.Errorf("%d: %q, %v", i, text, err)
		}
	}
	files := 0
	for name := range w.disk.files {
		if strings.HasSuffix(name, ".age") {
			files++
		}
	}
	if files != MaxRecordings {
		t.Errorf("%d files", files)
	}
	for _, name := range []string{"recording-x.age", File, "../" + File, ""} {
		if _, err := w.Recording(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}

	// One whose end is missing, or that is too long, is kept as far as it came.
	broken := io.MultiReader(strings.NewReader(ageHeader+"half"), errReader{})
	if err := rec.Record(t.Context(), "s-1", broken); !errors.Is(err, ara.ErrRecording) {
		t.Error(err)
	}
	if err := take(ageHeader + strings.Repeat("x", maxRecording)); !errors.Is(err, ara.ErrRecording) {
		t.Error(err)
	}
	if all := w.Recordings(); all[0].Bytes != maxRecording || all[1].Bytes != len(ageHeader)+4 {
		t.Errorf("%+v", all[:2])
	}

	// They outlive a restart, and no factory reset.
	w.crash()
	if n := len(w.Recordings()); n != MaxRecordings {
		t.Errorf("%d after a restart", n)
	}
	m, err := Open(Config{Disk: w.disk.crashed(), Installed: installed.Add(time.Hour), Policy: w.get})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if n := len(m.Recordings()); n != 0 {
		t.Errorf("another owner has %d", n)
	}
	if err := CheckRecipient("age1x"); err == nil {
		t.Error("takes what is no key")
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
