package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
)

// current is an offer that has not expired by the clock of this machine.
func current(id wire.OfferID) Offer {
	o := offer(id)
	o.Received, o.Expires = time.Now(), time.Now().Add(time.Hour)
	return o
}

func first() (*State, error) { return fresh(), nil }

// disks are the implementations of Disk.
func disks(t *testing.T) map[string]Disk {
	return map[string]Disk{"dir": Dir(filepath.Join(t.TempDir(), "new")), "memory": new(Memory)}
}

func TestDisk(t *testing.T) {
	t.Parallel()
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := d.Read("a"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("read nothing: %v", err)
			}
			if names, err := d.List(); len(names) > 0 || err != nil {
				t.Errorf("lists %q, %v", names, err)
			}
			must(t, d.Write("a", []byte("longer")))
			must(t, d.Write("a", []byte("one")))
			must(t, d.Rename("a", "b"))
			must(t, d.Sync())
			if got, err := d.Read("b"); string(got) != "one" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if names, err := d.List(); len(names) != 1 || names[0] != "b" || err != nil {
				t.Errorf("lists %q, %v", names, err)
			}
			if err := d.Rename("a", "b"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("rename nothing: %v", err)
			}
			must(t, d.Remove("b"))
			must(t, d.Remove("b"))
			if _, err := d.Read("b"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("read what was removed: %v", err)
			}
		})
	}
}

func TestStoreKeepsAndCounts(t *testing.T) {
	t.Parallel()
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			s, err := Open(d, first)
			must(t, err)
			v1 := s.View()
			must(t, s.Update(func(s *State) error { return s.Add(current("a")) }))
			if v1.Phase() != PhaseUnpaired || s.View().Phase() != PhaseOffered || s.View().Version <= v1.Version {
				t.Errorf("before %+v\nafter %+v", v1, s.View())
			}
			wrong := errors.New("no")
			if err := s.Update(func(s *State) error { s.Users = nil; return wrong }); !errors.Is(err, wrong) {
				t.Errorf("a refused change: %v", err)
			}
			if err := s.Update(func(s *State) error { s.Users = nil; return nil }); err == nil {
				t.Error("a state without administrator was written")
			}
			again, err := Open(d, func() (*State, error) { return nil, errors.New("there is one") })
			must(t, err)
			if got := again.View(); got.Version != s.View().Version || len(got.Users) != 1 || got.Offers[0].ID != "a" {
				t.Errorf("read again: %+v", got)
			}
		})
	}
}

// TestVersion: it is the time, and grows where the clock does not.
func TestVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(new(Memory), first)
		must(t, err)
		bump := func() int64 {
			must(t, s.Update(func(*State) error { return nil }))
			return s.View().Version
		}
		start := time.Now().UnixMilli()
		if v := bump(); v != start+1 {
			t.Errorf("second version %d, want %d", v, start+1)
		}
		time.Sleep(time.Minute)
		if v := bump(); v != start+60_000 {
			t.Errorf("after a minute %d, want %d", v, start+60_000)
		}
		must(t, s.Update(func(s *State) error { return s.Add(current("a")) }))
		must(t, s.Update(func(s *State) error { return s.Begin("a", User{Name: "c"}, now) }))
		if c := s.View().Completing; c.Version != s.View().Version {
			t.Errorf("completing with version %d in %d", c.Version, s.View().Version)
		}
		first := s.View().Completing.Version
		bump()
		if c := s.View().Completing; c.Version != first {
			t.Error("the version of the completion moved")
		}
	})
}

func TestFileIsPrivateAndNew(t *testing.T) {
	t.Parallel()
	d := Dir(filepath.Join(t.TempDir(), "p"))
	_, err := Open(d, first)
	must(t, err)
	for path, want := range map[string]fs.FileMode{string(d): 0o700, d.path(File): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if _, err := os.Stat(d.path(fileNew)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary file is left: %v", err)
	}
}

func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "{", "null", `{"format":2}`, `{"format":1}`, `{"format":1,"users":3}`,
		`{"format":1,"users":[{"name":"admin","role":"administrator","hash":"x"},{"name":"ccc-1","role":"ccc"}]}`,
		`{"format":1,"users":[{"name":"admin","role":"administrator","hash":"x"}],"pairing":{"user":"ccc-1"}}`,
	} {
		m := new(Memory)
		must(t, m.Write(File, []byte(text)))
		if _, err := Open(m, first); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), File) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// crashDisk is a disk whose power fails before or in the middle of a step. What was
// not synced is lost or torn.
type crashDisk struct {
	Memory
	steps   int // until the power fails; negative: it does not
	tear    bool
	renamed *[2][]byte // contents of File before and after a rename that is not synced
}

var errPower = errors.New("power failed")

func (d *crashDisk) step() bool {
	if d.steps == 0 {
		return false
	}
	d.steps--
	return true
}

func (d *crashDisk) Write(name string, data []byte) error {
	if !d.step() {
		if d.tear {
			_ = d.Memory.Write(name, data[:len(data)/2]) // never fails
		}
		return errPower
	}
	return d.Memory.Write(name, data)
}

func (d *crashDisk) Rename(from, to string) error {
	before, _ := d.Read(to)
	if !d.step() {
		return errPower
	}
	err := d.Memory.Rename(from, to)
	after, _ := d.Read(to)
	d.renamed = &[2][]byte{before, after}
	return err
}

func (d *crashDisk) Sync() error {
	if !d.step() {
		return errPower
	}
	d.renamed = nil
	return nil
}

// TestCrashAtEveryStep runs a life of a PBX, and lets the power fail at each step of
// each write, with what a disk may have kept. Afterwards the PBX is paired, or it is
// not and has no user of a pairing.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	life := []func(*State) error{
		func(s *State) error { return s.Add(current("a")) },
		func(s *State) error { _, err := s.Wrong("a"); return err },
		func(s *State) error { return s.Begin("a", User{Name: "ccc-1", Hash: "$c"}, now) },
		func(s *State) error { s.Abandon(false); return nil },
		func(s *State) error { return s.Begin("a", User{Name: "ccc-2", Hash: "$c"}, now) },
		func(s *State) error { return s.Acknowledge("p", 1, now) },
		func(s *State) error { s.Switches.Remote = true; return nil },
		func(s *State) error { s.Dissolve("switched-off", now); return nil },
		func(s *State) error { s.Told("p"); return nil },
		func(s *State) error {
			s.Reset("factory-reset", User{Name: Administrator, Role: RoleAdministrator, Hash: "$n"}, nil, now)
			return nil
		},
	}
	run := func(d Disk) (done int, err error) {
		s, err := Open(d, first)
		if err != nil {
			return 0, err
		}
		for i, f := range life {
			if err := s.Update(f); err != nil {
				return i, err
			}
		}
		return len(life), nil
	}
	count := &crashDisk{steps: 1 << 30}
	if _, err := run(count); err != nil {
		t.Fatal(err)
	}
	total := 1<<30 - count.steps
	if total != 3*(len(life)+1) {
		t.Fatalf("%d steps", total)
	}
	seen := make(map[Phase]int)
	for step := range total {
		for _, kept := range []string{"all", "torn", "rename lost"} {
			d := &crashDisk{steps: step, tear: kept == "torn"}
			if _, err := run(d); !errors.Is(err, errPower) {
				t.Fatalf("step %d: %v", step, err)
			}
			d.steps = -1
			if kept == "rename lost" && d.renamed != nil {
				if d.renamed[0] == nil {
					must(t, d.Remove(File))
				} else {
					must(t, d.Memory.Write(File, d.renamed[0]))
				}
			}
			s, err := Open(d, first)
			if err != nil {
				t.Fatalf("step %d, %s: %v", step, kept, err)
			}
			got := s.View()
			seen[got.Phase()]++
			clouds := slices.DeleteFunc(slices.Clone(got.Users), func(u User) bool { return u.Role != RoleCloud })
			switch got.Phase() {
			case PhasePaired:
				if len(clouds) != 1 || clouds[0].Disabled {
					t.Errorf("step %d, %s: paired with %+v", step, kept, clouds)
				}
			case PhaseCompleting:
				t.Errorf("step %d, %s: completing after a start", step, kept)
			default:
				if len(clouds) != 0 {
					t.Errorf("step %d, %s: orphans %+v", step, kept, clouds)
				}
			}
		}
	}
	for _, p := range []Phase{PhaseUnpaired, PhaseOffered, PhasePaired} {
		if seen[p] == 0 {
			t.Errorf("no crash left the PBX %s: %v", p, seen)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":1,"users":[{"name":"admin","role":"administrator","hash":"x"}]}`))
	f.Add([]byte(fmt.Sprintf(`{"format":%d}`, Format)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			return
		}
		s.Boot(now)
		if err := s.check(); err != nil {
			t.Errorf("after a start: %v", err)
		}
		if s.Phase() == PhaseCompleting {
			t.Error("completing after a start")
		}
	})
}
