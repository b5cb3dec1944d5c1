package rollout

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
)

// maker signs the images of these tests, and stranger others.
var maker, stranger = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// imageOf packs an image for the model VM.
func imageOf(t *testing.T, version string, key ed25519.PrivateKey) []byte {
	t.Helper()
	var b bytes.Buffer
	m := firmware.Manifest{Model: "VM", Version: version, MinVersion: "1.0.0", Released: "2026-11-26", Notes: map[string]string{"en": "Fixes"}}
	if _, err := firmware.Pack(&b, bytes.NewReader(bytes.Repeat([]byte(version), 2000)), m, key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withFirmware has a service take images into a directory.
func withFirmware(t *testing.T, dir string) func(*Config) {
	t.Helper()
	text, err := firmware.EncodePublic(public(maker))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.FirmwareDir, c.FirmwareKeys = dir, []string{file} }
}

// upload brings an image that is taken.
func (w *world) upload(s *Service, version string) store.FirmwareID {
	w.t.Helper()
	v, err := s.Upload(context.Background(), w.who.ID, bytes.NewReader(imageOf(w.t, version, maker)))
	w.must(err)
	return v.ID
}

// box is the firmware of a fake PBX.
type box struct {
	model, version, previous string
	keys                     firmware.Keys
	takes                    time.Duration // from the image to the return
	coming                   string
	ready                    time.Time
	installs, rollbacks      int
	failed                   string // why the last image is not installed

	lost, stays, breaks bool // the answer is lost; it comes back with the old version; it cannot install it

	sent   int           // images, whatever came of them
	cut    int           // how many of the next ones it starts again while they come
	answer error         // to every image
	state  FirmwareState // that it says to be in
	deaf   error         // it does not go back, and answers so, or as if it did
	idle   bool          // of deaf
}

func newBox() box {
	return box{model: "VM", version: "1.2.0", keys: firmware.NewKeys(public(maker)), takes: 30 * time.Millisecond}
}

// pass has come what time brings.
func (p *fakePBX) pass() {
	b := &p.box
	if b.coming == "" || time.Now().Before(b.ready) {
		return
	}
	if b.breaks {
		b.coming, b.failed = "", "install_failed"
		return
	}
	p.boot++
	if !b.stays {
		b.previous, b.version = b.version, b.coming
	}
	b.coming = ""
	p.offline = p.offline || p.neverBack
}

func (p *fakePBX) Firmware(context.Context) (Firmware, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass()
	f := Firmware{Version: p.box.version, Previous: p.box.previous, State: FirmwareIdle}
	switch {
	case p.offline:
		return f, errGone
	case p.box.state != "":
		f.State = p.box.state
	case p.box.coming != "":
		f.State = FirmwareInstalling
	case p.box.failed != "":
		f.State, f.Error = FirmwareFailed, &struct {
			Code string `json:"code"`
		}{p.box.failed}
	}
	return f, nil
}

func (p *fakePBX) Install(ctx context.Context, image Image, downgrade bool) error {
	from, err := image.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	if err := image.Begin(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass()
	p.box.sent++
	if p.box.cut > 0 {
		p.box.cut--
		p.boot++
		return errGone
	}
	img, err := firmware.Verify(from, p.box.keys)
	switch {
	case p.offline:
		return errGone
	case p.box.answer != nil:
		return p.box.answer
	case errors.Is(err, firmware.ErrKey):
		return &pbxweb.Error{Status: http.StatusUnprocessableEntity, Code: "image_key"}
	case err != nil:
		return err
	case p.box.coming != "":
		return &pbxweb.Error{Status: http.StatusConflict, Code: "busy"}
	case firmware.Compare(img.Manifest.Version, p.box.version) < 0 && !downgrade:
		return &pbxweb.Error{Status: http.StatusUnprocessableEntity, Code: "image_downgrade"}
	}
	p.box.installs++
	p.box.coming, p.box.failed, p.box.ready = img.Manifest.Version, "", time.Now().Add(p.box.takes)
	if p.box.lost {
		p.box.lost = false
		return errGone
	}
	return nil
}

func (p *fakePBX) Rollback(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass()
	switch {
	case p.offline:
		return errGone
	case p.box.coming != "":
		return &pbxweb.Error{Status: http.StatusConflict, Code: "busy"}
	}
	p.box.rollbacks++
	if p.box.idle {
		return p.box.deaf
	}
	p.box.coming, p.box.ready = p.box.previous, time.Now().Add(p.box.takes)
	return nil
}

func (p *fakePBX) firmware() box {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.box
}

// files are those in a directory.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// Where it was not heard how the transaction has ended the image stays if it is known, and
// does not if it is not.
func TestUploadUnheard(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "images")
	w := newWorld(t, storetest.SQLite(t), 0)
	var made atomic.Bool
	w.update = func(ctx context.Context, f func(*store.Tx) error) error {
		if !made.Load() {
			return errGone
		}
		return errors.Join(w.db.Update(ctx, f), errGone)
	}
	s, _ := w.start(withFirmware(t, dir))
	for _, is := range []bool{false, true} {
		made.Store(is)
		if _, err := s.Upload(t.Context(), w.who.ID, bytes.NewReader(imageOf(t, "1.3.0", maker))); !errors.Is(err, errGone) {
			t.Fatal(err)
		}
		if left := files(t, dir); len(left) > 0 != is {
			t.Errorf("known %t: left is %v", is, left)
		}
	}
}

// Only what is whole and signed by a known key is taken; of all else nothing is left.
func TestUpload(t *testing.T) {
	t.Parallel()
	engines(t, 0, func(t *testing.T, w *world) {
		dir := filepath.Join(t.TempDir(), "images")
		s, _ := w.start(withFirmware(t, dir), func(c *Config) { c.FirmwareMaxSize = 20_000 })
		good := imageOf(t, "1.3.0", maker)
		broken := func(at int) []byte {
			changed := bytes.Clone(good)
			changed[(at+len(changed))%len(changed)] ^= 1
			return changed
		}
		for name, tt := range map[string]struct {
			image []byte
			code  Code
		}{
			"no image":      {[]byte("PK\x03\x04 something else, as long as a header is"), CodeFirmwareFormat},
			"nothing":       {nil, CodeFirmwareFormat},
			"unknown key":   {imageOf(t, "1.3.0", stranger), CodeFirmwareKey},
			"manifest":      {broken(30), CodeFirmwareSignature},
			"payload":       {broken(-1), CodeFirmwarePayload},
			"not whole":     {good[:len(good)-1], CodeFirmwarePayload},
			"more follows":  {append(bytes.Clone(good), 'x'), CodeFirmwarePayload},
			"large":         {imageOf(t, "1.3.0-with.a.long.name", maker), CodeTooLarge},
			"large, unsaid": {append(bytes.Clone(good), bytes.Repeat([]byte{'x'}, 30_000)...), CodeFirmwarePayload},
		} {
			_, err := s.Upload(t.Context(), w.who.ID, bytes.NewReader(tt.image))
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != tt.code {
				t.Errorf("%s: %v, want %s", name, err, tt.code)
			}
			if left := files(t, dir); len(left) != 0 {
				t.Errorf("%s: left is %v", name, left)
			}
		}
		v, err := s.Upload(t.Context(), w.who.ID, bytes.NewReader(good))
		if err != nil || v.Model != "VM" || v.Version != "1.3.0" || v.Size != int64(len(good)) || v.KeyID != firmware.IDOf(public(maker)).String() {
			t.Fatalf("%+v, %v", v, err)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, string(v.ID)+imageSuffix)); err != nil || !bytes.Equal(kept, good) {
			t.Errorf("%d bytes are kept, %v", len(kept), err)
		}
		_, err = s.Upload(t.Context(), w.who.ID, bytes.NewReader(good))
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeFirmwareExists || len(files(t, dir)) != 1 {
			t.Errorf("once more: %v, and there are %v", err, files(t, dir))
		}
		if err := s.RemoveFirmware(t.Context(), v.ID); err != nil || len(files(t, dir)) != 0 {
			t.Errorf("removed: %v, and there are %v", err, files(t, dir))
		}
		if err := s.RemoveFirmware(t.Context(), v.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("removed once more: %v", err)
		}
	})
}

// Files that a process has left are removed, but none that another may be about to write.
func TestSweepFirmware(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t), 0)
	dir := t.TempDir()
	with := withFirmware(t, dir)
	s, stop := w.start(with)
	kept := string(w.upload(s, "1.3.0")) + imageSuffix
	stop()
	old := time.Now().Add(-2 * time.Hour)
	for name, at := range map[string]time.Time{"a.ctxfw": old, "b.ctxfw.part": old, "c.ctxfw.part": time.Now(), "README": old, kept: old} {
		path := filepath.Join(dir, name)
		if name != kept {
			w.must(os.WriteFile(path, []byte("x"), 0o600))
		}
		w.must(os.Chtimes(path, at, at))
	}
	s, _ = w.start(with)
	w.must(s.sweepFirmware(t.Context()))
	if got := strings.Join(files(t, dir), " "); got != kept+" README c.ctxfw.part" && got != "README "+kept+" c.ctxfw.part" {
		t.Errorf("there are %s", got)
	}
}

// What a dry run says, what is done, and the way back.
func TestFirmwareRollout(t *testing.T) {
	t.Parallel()
	engines(t, 8, func(t *testing.T, w *world) {
		soon, over := now().Add(time.Hour), now().Add(-time.Hour)
		w.must(w.db.Update(t.Context(), func(tx *store.Tx) error {
			for i, id := range w.systems {
				until := &soon
				if i == 3 {
					until = &over
				}
				if err := tx.SetMaintenance(w.tenant, id, until); err != nil {
					return err
				}
			}
			return nil
		}))
		w.pbxs[0].box.model = "another"
		w.pbxs[1].box.version = "1.3.0"
		w.pbxs[2].box.version = "2.0.0"
		w.pbxs[4].box.version = "0.9.0"
		w.pbxs[6].box.lost = true
		s, _ := w.start(withFirmware(t, t.TempDir()), func(c *Config) { c.RequireMaintenance = true })
		image := w.upload(s, "1.3.0")
		wish := Wish{Name: "1.3", Kind: store.RolloutFirmware, Firmware: image, Systems: w.systems, Plan: store.RolloutPlan{Rings: []store.Ring{{Percent: 100}}}}
		id := w.create(s, wish)
		w.await(id, store.RolloutReady)
		dry := map[string]int{"refused model": 1, "unchanged": 1, "refused downgrade": 1, "refused maintenance": 1, "refused min_version": 1, "pending": 3}
		w.want(id, dry)
		k, restart, err := s.Changes(w.devices(id)[w.systems[5]])
		if err != nil || !restart || len(k) != 1 || string(k[0].Old)+" "+string(k[0].New) != `"1.2.0" "1.3.0"` {
			t.Errorf("what would change: %s, %v, %v", k, restart, err)
		}
		if e, ok := errors.AsType[*Error](s.RemoveFirmware(t.Context(), image)); !ok || e.Code != CodeFirmwareInUse {
			t.Errorf("the image of a rollout is removed: %v", e)
		}
		w.control(s, id, Start)
		w.await(id, store.RolloutDone)
		delete(dry, "pending")
		dry["done"] = 3
		w.want(id, dry)
		for i, p := range w.pbxs {
			want := map[bool]int{true: 1}[i >= 5]
			if b := p.firmware(); b.installs != want || want == 1 && b.version != "1.3.0" {
				t.Errorf("PBX %d: %d images are installed, and %s runs", i, b.installs, b.version)
			}
		}
		kept, err := s.kept(w.devices(id)[w.systems[5]])
		if err != nil || string(kept.Backup["ntp_server"]) != `"old"` {
			t.Errorf("the settings of before: %v, %v", kept.Backup, err)
		}

		w.must(s.RemoveFirmware(t.Context(), image)) // it is not needed for the way back
		w.pbxs[7].set(func(p *fakePBX) { p.box.version = "1.4.0" })
		w.control(s, id, Rollback)
		w.await(id, store.RolloutReverted)
		delete(dry, "done")
		dry["rolled_back"], dry["conflict changed"] = 2, 1
		w.want(id, dry)
		for i, want := range map[int]string{5: "1.2.0", 6: "1.2.0", 7: "1.4.0", 1: "1.3.0"} {
			if b := w.pbxs[i].firmware(); b.version != want || b.rollbacks > 1 {
				t.Errorf("PBX %d has %s after %d ways back", i, b.version, b.rollbacks)
			}
		}
	})
}

// A downgrade is done where the plan says so, and not otherwise.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(t *testing.T, w *world) {
		s, _ := w.start(withFirmware(t, t.TempDir()))
		wish := Wish{Name: "1.1", Kind: store.RolloutFirmware, Firmware: w.upload(s, "1.1.0"), Systems: w.systems, Plan: store.RolloutPlan{Downgrade: true}}
		id := w.create(s, wish)
		w.await(id, store.RolloutReady)
		w.control(s, id, Start)
		w.await(id, store.RolloutDone)
		if b := w.pbxs[0].firmware(); b.version != "1.1.0" {
			t.Errorf("%s runs", b.version)
		}
	})
}

// Each of these is a failure that halts the rollout before the next ring.
func TestFirmwareFails(t *testing.T) {
	t.Parallel()
	for code, fault := range map[string]func(*fakePBX){
		"failed signature":              func(p *fakePBX) { p.box.keys = firmware.NewKeys(public(stranger)) },
		"failed version":                func(p *fakePBX) { p.box.stays = true },
		"failed install install_failed": func(p *fakePBX) { p.box.breaks = true },
		"failed not_returned":           func(p *fakePBX) { p.neverBack = true },
		"done":                          func(*fakePBX) {},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 2, func(t *testing.T, w *world) {
				fault(w.pbxs[0])
				s, _ := w.start(withFirmware(t, t.TempDir()))
				id := w.create(s, Wish{
					Name: "1.3", Kind: store.RolloutFirmware, Firmware: w.upload(s, "1.3.0"), Systems: w.systems,
					Plan: store.RolloutPlan{Rings: []store.Ring{{Count: 1}, {Percent: 100}}},
				})
				w.await(id, store.RolloutReady)
				w.control(s, id, Start)
				if code == "done" {
					w.await(id, store.RolloutDone)
					return
				}
				w.await(id, store.RolloutHalted)
				w.want(id, map[string]int{code: 1, "pending": 1})
				if w.pbxs[1].firmware().installs != 0 {
					t.Error("the next ring has it too")
				}
			})
		})
	}
}

// A process that is killed at any step leaves something that the next one finishes: no image
// is installed twice, also where the PBX fails as it has failed before.
func TestFirmwareKilled(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for at := 1; ; at++ {
				finished := false
				inBubble(t, 1, func(t *testing.T, w *world) { finished = !killFirmwareAt(t, w, at, after, fails) })
				if finished || t.Failed() {
					if at < 5 {
						t.Errorf("only %d steps", at)
					}
					break
				}
			}
		}
	}
}

// killFirmwareAt kills the first process at a change, and tells whether it lived so long.
func killFirmwareAt(t *testing.T, w *world, at int, after, fails bool) (killed bool) {
	t.Helper()
	end, want, boots, runs := store.RolloutDone, "done", 1, "1.3.0"
	if fails {
		w.pbxs[0].box.breaks, w.pbxs[0].box.failed = true, "install_failed"
		end, want, boots, runs = store.RolloutHalted, "failed install install_failed", 0, "1.2.0"
	}
	with := withFirmware(t, t.TempDir())
	first, stopFirst := w.start(with)
	id := w.create(first, Wish{Name: "1.3", Kind: store.RolloutFirmware, Firmware: w.upload(first, "1.3.0"), Systems: w.systems})
	w.await(id, store.RolloutReady)
	w.control(first, id, Check) // so that it is not worked on when the next one starts
	w.await(id, store.RolloutReady)
	stopFirst()
	k := &killer{left: at, after: after}
	s, stop := w.start(with, func(c *Config) { c.update = k.update(w.db.Update) })
	w.must(w.db.Update(context.Background(), func(tx *store.Tx) error {
		r := w.rollout(id)
		r.State, r.Started = store.RolloutRunning, &r.Created
		deadline := now().Add(time.Hour)
		r.Deadline = &deadline
		return tx.SetRollout(w.tenant, r, store.RolloutReady)
	}))
	s.Wake()
	w.awaitThat(id, "killed or done", func(r store.Rollout) bool { return k.killed() || r.State == end })
	stop()
	if !k.killed() {
		return false
	}
	w.start(with)
	w.await(id, end)
	w.want(id, map[string]int{want: 1})
	// One that has failed before may be taken for one that has the image.
	if b := w.pbxs[0].firmware(); b.installs > 1 || b.installs < 1 && !fails || b.version != runs || w.pbxs[0].boot != boots {
		t.Errorf("killed at %d (%v): installed %d times, started %d times, has %s", at, after, b.installs, w.pbxs[0].boot, b.version)
	}
	return true
}
