package remote

import (
	"encoding/json"
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
	sealed := func(events string) string { return seal(t, key.Recipient(), "switch", events) }
	const shown = `[0.000000,"o","x"]` + "\n"
	if to, err := rec.Recipient(t.Context(), "s-1"); to != "" || err != nil {
		t.Errorf("off by default: %q, %v", to, err)
	}
	if err := take(sealed(shown)); !errors.Is(err, ara.ErrRecording) || len(w.Recordings()) > 0 {
		t.Errorf("taken though nobody wants it: %v, %v", err, w.Recordings())
	}

	w.set(func(p *Policy) { p.Recording = key.Recipient().String() })
	if to, err := rec.Recipient(t.Context(), "s-1"); to != key.Recipient().String() || err != nil {
		t.Errorf("%q, %v", to, err)
	}
	if err := take(`{"version": 2}`); !errors.Is(err, ara.ErrRecording) || len(w.Recordings()) > 0 {
		t.Errorf("taken though it is not sealed: %v", err)
	}
	// One of a terminal that has shown nothing is not kept.
	for name, text := range map[string]string{"no event": sealed(""), "cut before the first chunk": sealed("")[:len(ageHeader)+150]} {
		if err := take(text); err != nil || len(w.Recordings()) > 0 {
			t.Errorf("%s: %v, %v", name, err, w.Recordings())
		}
	}

	// A session that has as many as are kept gets no other one: its own would go.
	texts := make([]string, MaxRecordings)
	for i := range texts {
		texts[i] = sealed(fmt.Sprintf(`[%d.000000,"o","x"]`+"\n", i))
		if err := take(texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(sealed(shown)); !errors.Is(err, ara.ErrRecording) {
		t.Errorf("one more of a session: %v", err)
	}
	all := w.Recordings()
	if len(all) != MaxRecordings || all[0].Target != "switch" || all[0].User != "Erika Muster" {
		t.Fatalf("%d, %+v", len(all), all[0])
	}
	for i, one := range all {
		if text, err := w.Recording(one.Name); string(text) != texts[MaxRecordings-1-i] || err != nil {
			t.Errorf("%d: %q, %v", i, text, err)
		}
	}

	// Those of another session take the places of the oldest.
	r.Session = "s-2"
	if _, err := w.Take(r); err != nil {
		t.Fatal(err)
	}
	w.allow("s-2", 0)
	other := func(text io.Reader) error { return rec.Record(t.Context(), "s-2", text) }
	for range 2 {
		if err := other(strings.NewReader(sealed(shown))); err != nil {
			t.Fatal(err)
		}
	}
	switch now := w.Recordings(); {
	case len(now) != MaxRecordings || now[0].Session != "s-2" || now[1].Session != "s-2":
		t.Errorf("%d, %+v", len(now), now[:2])
	case now[MaxRecordings-1].Name != all[MaxRecordings-3].Name:
		t.Error("it is not the oldest that have gone")
	}
	if n := w.disk.tapes(); n != MaxRecordings {
		t.Errorf("%d files", n)
	}
	for _, name := range []string{"recording-x.age", File, "../" + File, ""} {
		if _, err := w.Recording(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}

	// One whose end is missing, or that is too long, is kept as far as it came.
	half := sealed(shown)
	if err := other(io.MultiReader(strings.NewReader(half), errReader{})); !errors.Is(err, ara.ErrRecording) {
		t.Error(err)
	}
	if err := other(strings.NewReader(half + strings.Repeat("x", maxRecording))); !errors.Is(err, ara.ErrRecording) {
		t.Error(err)
	}
	if all := w.Recordings(); all[0].Bytes != maxRecording || all[1].Bytes != len(half) {
		t.Errorf("%+v", all[:2])
	}

	// They outlive a restart, and no factory reset. A file that a crash has kept from the
	// list does not, nor is another file touched.
	if err := errors.Join(w.disk.Write("recording-orphan.age", []byte(half)), w.disk.Write("recordings.txt", nil)); err != nil {
		t.Fatal(err)
	}
	w.crash()
	if n := w.disk.tapes(); n != MaxRecordings {
		t.Errorf("%d files after a restart", n)
	}
	if _, err := w.disk.Read("recordings.txt"); err != nil {
		t.Error(err)
	}
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

// seal makes a recording of these events as the gateway does.
func seal(t *testing.T, to age.Recipient, title, events string) string {
	t.Helper()
	header, err := json.Marshal(map[string]any{"version": 2, "width": 1000, "height": 1000, "timestamp": time.Now().Unix(), "title": title})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	out, err := age.Encrypt(&b, to)
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n%s", header, events)
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tapes counts the files of recordings.
func (d *memory) tapes() (n int) {
	for name := range d.files {
		if strings.HasSuffix(name, ".age") {
			n++
		}
	}
	return n
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
