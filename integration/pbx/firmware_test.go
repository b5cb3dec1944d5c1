package pbx

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// maker signs the images of these tests.
var maker = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func makerKeys() firmware.Keys { return firmware.NewKeys(maker.Public().(ed25519.PublicKey)) }

// imageOf packs an image of a version.
func imageOf(t testing.TB, version string, change ...func(*firmware.Manifest)) []byte {
	t.Helper()
	m := firmware.Manifest{Model: "COMtrexx Business", Version: version, Released: "2026-11-26"}
	for _, f := range change {
		f(&m)
	}
	var b bytes.Buffer
	if _, err := firmware.Pack(&b, bytes.NewReader(bytes.Repeat([]byte(version), 10_000)), m, maker); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bring sends an image.
func (b *box) bring(body io.Reader, query string, who ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(b.ccc.t.Context(), http.MethodPut, firmwarePath+query, body)
	r.Header.Set("Content-Type", "application/octet-stream")
	for _, f := range who {
		f(r)
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	return w
}

func withKeys(c *Config) { c.FirmwareKeys, c.Limits.Install = makerKeys(), 10*time.Second }

// TestFirmware is an update, what is seen of it, and the way back.
func TestFirmware(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, withKeys)
		b.pair(t)
		cloud := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		look := func() pages.Firmware {
			return into[pages.Firmware](t, b.ask("GET", firmwarePath, "", cloud), http.StatusOK)
		}
		if got := look(); got != (pages.Firmware{Version: "1.0.0-sim", State: pages.FirmwareIdle}) {
			t.Errorf("before: %+v", got)
		}
		image := imageOf(t, "2.0.0")
		body, rest := io.Pipe()
		answer := make(chan *httptest.ResponseRecorder, 1)
		go func() { answer <- b.bring(body, "", cloud, via("ccc")) }()
		if _, err := rest.Write(image[:len(image)/2]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := look(); got.State != pages.FirmwareReceiving || got.Progress != 50 {
			t.Errorf("while it comes: %+v", got)
		}
		if _, c := code(t, b.bring(bytes.NewReader(image), "", cloud)); c != "busy" {
			t.Errorf("another one meanwhile: %q", c)
		}
		if _, c := code(t, b.ask("POST", "/api/v1/restart", "", cloud)); c != "busy" {
			t.Errorf("a restart meanwhile: %q", c)
		}
		if _, err := rest.Write(image[len(image)/2:]); err != nil {
			t.Fatal(err)
		}
		_ = rest.Close()
		if w := <-answer; w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		time.Sleep(5 * time.Second)
		if got := look(); got.State != pages.FirmwareInstalling || got.Progress != 50 || got.Version != "1.0.0-sim" {
			t.Errorf("while it is installed: %+v", got)
		}
		if _, c := code(t, b.ask("POST", firmwarePath+"/rollback", "", cloud)); c != "busy" {
			t.Errorf("back meanwhile: %q", c)
		}
		time.Sleep(5*time.Second + restartGrace/2)
		if got := look(); got.State != pages.FirmwareRestarting || got.Version != "1.0.0-sim" {
			t.Errorf("before it restarts: %+v", got)
		}
		time.Sleep(time.Minute)
		cloud = b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		if got := look(); got != (pages.Firmware{Version: "2.0.0", Previous: "1.0.0-sim", State: pages.FirmwareIdle}) {
			t.Errorf("after it: %+v", got)
		}
		if got := into[System](t, b.ask("GET", "/api/v1/system", "", cloud), http.StatusOK).Firmware; got != "2.0.0" {
			t.Errorf("the system says %s", got)
		}

		if w := b.ask("POST", firmwarePath+"/rollback", "", cloud); w.Code != http.StatusAccepted {
			t.Errorf("back: %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		cloud = b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
		if got := look(); got.Version != "1.0.0-sim" || got.Previous != "2.0.0" {
			t.Errorf("back: %+v", got)
		}
		var done []state.Done
		for _, c := range b.State().Changes {
			done = append(done, c.Done)
			if !c.Cloud {
				t.Errorf("%+v", c)
			}
		}
		if !slices.Equal(done, []state.Done{state.DoneFirmware, state.DoneRollback}) || b.State().Changes[1].Version != "1.0.0-sim" {
			t.Errorf("what was done: %+v", b.State().Changes)
		}
	})
}

// TestImageOnDisk: the disk has what it needs, whole, and no more.
func TestImageOnDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, withKeys)
		var images [][]byte
		for _, version := range []string{"2.0.0", "3.0.0", "4.0.0"} {
			images = append(images, imageOf(t, version))
			if w := b.bring(bytes.NewReader(images[len(images)-1]), "", b.logIn(t, "admin", first)); w.Code != http.StatusAccepted {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			time.Sleep(time.Minute)
		}
		files, err := filepath.Glob(filepath.Join(b.cfg.Dir, "firmware*"))
		if err != nil || len(files) != 2 {
			t.Errorf("%v, %v", files, err)
		}
		f := b.State().Firmware
		for i, one := range []state.Image{*f.Previous, f.Current} {
			if got, err := os.ReadFile(filepath.Join(b.cfg.Dir, one.File())); err != nil || !bytes.Equal(got, images[i+1]) {
				t.Errorf("%s is not what came: %v", one.Version, err)
			}
		}
	})
}

// TestFirmwareRefused: what is not taken, and that it leaves nothing.
func TestFirmwareRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, withKeys, func(c *Config) { c.Firmware, c.Limits.MaxFirmware = "2.0.0", 200_000 })
		admin := b.logIn(t, "admin", first)
		good := imageOf(t, "2.1.0")
		changed := bytes.Clone(good)
		changed[len(changed)-1] ^= 1
		other := bytes.Clone(good)
		other[8] ^= 1
		signature := bytes.Clone(good)
		signature[len(signature)-10_000*len("2.1.0")-1] ^= 1
		for name, tt := range map[string]struct {
			body  io.Reader
			query string
			code  string
		}{
			"no image":          {bytes.NewReader([]byte("junk")), "", "image_format"},
			"nothing":           {bytes.NewReader(nil), "", "image_format"},
			"unknown key":       {bytes.NewReader(other), "", "image_key"},
			"signature":         {bytes.NewReader(signature), "", "image_signature"},
			"changed":           {bytes.NewReader(changed), "", "image_payload"},
			"cut off":           {bytes.NewReader(good[:len(good)-1]), "", "image_payload"},
			"broken line":       {io.MultiReader(bytes.NewReader(good[:len(good)-1]), failing{}), "", "bad_request"},
			"model":             {bytes.NewReader(imageOf(t, "2.1.0", func(m *firmware.Manifest) { m.Model = "Other" })), "", "image_model"},
			"older":             {bytes.NewReader(imageOf(t, "1.9.0")), "", "image_downgrade"},
			"older, not really": {bytes.NewReader(imageOf(t, "1.9.0")), "?allow_downgrade=1", "image_downgrade"},
			"the same":          {bytes.NewReader(imageOf(t, "2.0.0")), "?allow_downgrade=true", "image_current"},
			"needs more":        {bytes.NewReader(imageOf(t, "3.0.0", func(m *firmware.Manifest) { m.MinVersion = "2.5.0" })), "", "image_min_version"},
			"too large":         {bytes.NewReader(imageOf(t, "2.1.0-"+string(bytes.Repeat([]byte("x"), 30)))), "", "too_large"},
			"endless":           {io.MultiReader(bytes.NewReader(good), endless{}), "", "image_payload"},
		} {
			if _, c := code(t, b.bring(tt.body, tt.query, admin)); c != tt.code {
				t.Errorf("%s: %q, want %q", name, c, tt.code)
			}
			v := into[pages.Firmware](t, b.ask("GET", firmwarePath, "", admin), http.StatusOK)
			if v.State != pages.FirmwareFailed || v.Error == nil || v.Error.Code != tt.code || v.Error.Detail == "" || v.Version != "2.0.0" {
				t.Errorf("%s: seen as %+v", name, v)
			}
			if files, err := filepath.Glob(filepath.Join(b.cfg.Dir, "firmware*")); err != nil || len(files) > 0 || b.State().Firmware.Installing != nil {
				t.Errorf("%s leaves %v", name, files)
			}
		}
		if w := b.bring(bytes.NewReader(imageOf(t, "1.9.0")), "?allow_downgrade=true", admin); w.Code != http.StatusAccepted {
			t.Errorf("an older one, if that is wanted: %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		if got := b.firmware(); got.Version != "1.9.0" || got.Previous != "2.0.0" {
			t.Errorf("%+v", got)
		}
		if w := b.bring(bytes.NewReader(good), "", b.logIn(t, "admin", first)); w.Code != http.StatusAccepted {
			t.Errorf("the good one: %d %s", w.Code, w.Body)
		}
	})
}

// TestFirmwareWhileRightsGo: an image that came whole is not installed when who has sent it
// may no longer do so.
func TestFirmwareWhileRightsGo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		meanwhile func(*testing.T, *box)
		code      string
	}{
		"nothing happens": {func(*testing.T, *box) {}, ""},
		"switched off": {func(t *testing.T, b *box) {
			set := b.State().Switches
			set.Configuration = false
			if err := b.setSwitches(replace(set)); err != nil {
				t.Error(err)
			}
		}, "switched_off"},
		"dissolved": {func(t *testing.T, b *box) {
			if err := b.Dissolve(); err != nil {
				t.Error(err)
			}
		}, "unauthenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t, withKeys)
				b.pair(t)
				cloud := b.logIn(t, b.ccc.pairing.user, b.ccc.pairing.pass)
				image := imageOf(t, "2.0.0")
				body, rest := io.Pipe()
				answer := make(chan *httptest.ResponseRecorder, 1)
				go func() { answer <- b.bring(body, "", cloud, via("ccc")) }()
				if _, err := rest.Write(image[:100]); err != nil {
					t.Fatal(err)
				}
				tt.meanwhile(t, b)
				if _, err := rest.Write(image[100:]); err != nil {
					t.Fatal(err)
				}
				_ = rest.Close()
				if _, c := code(t, <-answer); c != tt.code {
					t.Errorf("%q, want %q", c, tt.code)
				}
				time.Sleep(time.Minute)
				if got, want := b.firmware().Version, map[bool]string{true: "2.0.0", false: "1.0.0-sim"}[tt.code == ""]; got != want {
					t.Errorf("%s runs, want %s", got, want)
				}
			})
		})
	}
}

// TestFirmwareFails: an image that cannot be installed leaves the old one.
func TestFirmwareFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, withKeys, func(c *Config) { c.Fault = FaultInstall })
		boot := b.lifetime()
		if w := b.bring(bytes.NewReader(imageOf(t, "2.0.0")), "", b.logIn(t, "admin", first)); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		got := b.firmware()
		if got.State != pages.FirmwareFailed || got.Version != "1.0.0-sim" || got.Previous != "" || got.Error.Code != string(state.FailInstall) || b.lifetime() != boot {
			t.Errorf("%+v", got)
		}
		if files, err := filepath.Glob(filepath.Join(b.cfg.Dir, "firmware*")); err != nil || len(files) > 0 {
			t.Errorf("it leaves %v", files)
		}
		b.cfg.Fault = FaultNone
		b.restart(t)
		if got := b.firmware(); got.Error == nil || got.Error.Code != string(state.FailInstall) {
			t.Errorf("after a restart: %+v", got)
		}
		if w := b.bring(bytes.NewReader(imageOf(t, "2.0.0")), "", b.logIn(t, "admin", first)); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		if got := b.firmware(); got.State != pages.FirmwareIdle || got.Version != "2.0.0" {
			t.Errorf("the next time: %+v", got)
		}
	})
}

func (p *PBX) lifetime() string { return p.life.boot() }

// TestFirmwareKilledAtEveryStep takes the power after each step that the disk takes in an
// update and in a rollback: the PBX starts with the old version or with the new one, with
// the files that it needs and no others, and can be updated.
func TestFirmwareKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	seen := make(map[string]int)
	for steps, alive := 1, false; !alive; steps++ {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := pkitest.New(t, td)
				ccc := newFakeCCC(t, ca)
				disk := &mortal{Memory: new(state.Memory), steps: -1, after: func() {}}
				b := &box{ccc: ccc, cfg: Config{
					Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first,
					Hasher: quick, Facts: noFacts, Dial: ccc.dial, Disk: disk, FirmwareKeys: makerKeys(),
				}}
				b.start(t)
				admin := b.logIn(t, "admin", first)
				disk.set(steps)
				b.bring(bytes.NewReader(imageOf(t, "2.0.0")), "", admin)
				time.Sleep(time.Minute)
				if disk.left() != 0 {
					b.ask("POST", firmwarePath+"/rollback", "", b.logIn(t, "admin", first))
					time.Sleep(time.Minute)
				}
				b.stop()
				alive = disk.left() > 0
				disk.set(-1)

				b.start(t)
				defer func() { b.stop() }()
				got := b.firmware()
				seen[got.Version+" after "+got.Previous]++
				f := b.State().Firmware
				names, err := disk.List()
				if err != nil {
					t.Fatal(err)
				}
				images := slices.DeleteFunc(names, func(name string) bool { return !state.IsImage(name) && name != firmwareNew })
				needed := f.Files()
				slices.Sort(images)
				slices.Sort(needed)
				if !slices.Equal(images, needed) || f.Installing != nil {
					t.Errorf("%s has %v, needs %v", got.Version, images, needed)
				}
				if w := b.bring(bytes.NewReader(imageOf(t, "3.0.0")), "", b.logIn(t, "admin", first)); w.Code != http.StatusAccepted {
					t.Errorf("the next update: %d %s", w.Code, w.Body)
				}
				time.Sleep(time.Minute)
				if got := b.firmware(); got.Version != "3.0.0" {
					t.Errorf("the next update: %+v", got)
				}
			})
		})
		if t.Failed() || steps > 200 {
			break
		}
	}
	if len(seen) != 3 || seen["1.0.0-sim after "] == 0 || seen["2.0.0 after 1.0.0-sim"] == 0 || seen["1.0.0-sim after 2.0.0"] == 0 {
		t.Errorf("the ends %v", seen)
	}
}

// TestFirmwareNotInMemory: what a PBX without a directory takes is looked at and forgotten.
func TestFirmwareNotInMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := new(state.Memory)
		b := newBox(t, withKeys, func(c *Config) { c.Disk = disk })
		if w := b.bring(bytes.NewReader(imageOf(t, "2.0.0")), "", b.logIn(t, "admin", first)); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		f := b.State().Firmware
		if data, err := disk.Read(f.Current.File()); err != nil || len(data) > 0 || f.Current.Version != "2.0.0" {
			t.Errorf("%d bytes, %v, %+v", len(data), err, f)
		}
	})
}
