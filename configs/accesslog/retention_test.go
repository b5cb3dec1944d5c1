package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// minute is the address that is recorded in a minute of a test.
func minute(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
}

// check asserts at a moment that nothing is too old, in files, keys or reading, and
// that what is young is still there.
func (w *world) check(first time.Time) {
	w.t.Helper()
	now := w.now().UTC()
	// The two oldest hours; all of it takes too long.
	records := collect(w.t, w.reader().Raw(time.Time{}, later(first, now.Add(-MaxRaw)).Add(2*time.Hour)))
	if len(records) == 0 {
		w.t.Fatalf("%s: nothing can be read", now)
	}
	oldest := slices.MinFunc(records, func(a, b Record) int { return a.Time.Compare(b.Time) }).Time
	if age := now.Sub(oldest); age > MaxRaw {
		w.t.Fatalf("%s: a record of %s can be read", now, oldest)
	}
	// Not too early either: a whole hour goes at once.
	if want := later(first, now.Add(-MaxRaw).Add(time.Hour)); oldest.After(want.Add(time.Minute)) {
		w.t.Fatalf("%s: the oldest record is of %s, want one of %s", now, oldest, want)
	}
	names, err := segments(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, _, err := readState(w.dir + "/state")
	if err != nil {
		w.t.Fatal(err)
	}
	if len(names) != len(keys) {
		w.t.Fatalf("%s: %d files, %d keys", now, len(names), len(keys))
	}
	limit := now.Add(-MaxRaw)
	for _, k := range keys {
		if !k.start.After(limit) {
			w.t.Fatalf("%s: a key of %s is left", now, k.start)
		}
	}
	for _, name := range names {
		start, err := time.Parse(hourLayout, name[:len(hourLayout)])
		if err != nil {
			w.t.Fatal(err)
		}
		if !start.After(limit) {
			w.t.Fatalf("%s: the file %s is left", now, name)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// 40 days with a record in each minute, over the change to summer time (which must not
// matter, all is UTC), checked at each hour, and exactly at the end of an hour's time.
func TestFortyDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		first := w.now()
		for i := range 40 * 24 * 60 {
			w.log.Record(minute(i), OK)
			w.sleep(time.Minute)
			if i%60 == 59 {
				w.check(first)
			}
		}
		w.end()
		if n := w.total(); n != 40*24*60 {
			t.Errorf("the anonymous stream has %d accesses, want %d", n, 40*24*60)
		}
		if v := collect(t, w.reader().Visitors(time.Time{}, time.Time{})); len(v) != 40 || v[0].Visitors < 1400 || v[0].Visitors > 1480 {
			t.Errorf("visitors of %d days: %+v", len(v), v[:min(1, len(v))])
		}
		sweeps := collect(t, Sweeps(w.dir))
		deleted := 0
		for _, s := range sweeps {
			deleted += s.Deleted
		}
		if deleted != (40-14)*24+1 || len(sweeps) < 40*24*4 {
			t.Errorf("%d sweeps have deleted %d segments", len(sweeps), deleted)
		}
	})
}

// The moment itself: a record can be read a second before 14 days after its hour began,
// and not at 14 days.
func TestTheSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		w.sleep(59 * time.Minute)
		w.log.Record(minute(0), OK)
		w.sleep(MaxRaw - 59*time.Minute - time.Second)
		if n := len(w.records()); n != 1 {
			t.Fatalf("%d records a second before", n)
		}
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 1 {
			t.Fatalf("%d files a second before", n)
		}
		time.Sleep(time.Second)
		// Whether it was deleted or not.
		if n := len(w.records()); n != 0 {
			t.Errorf("%d records at 14 days", n)
		}
		synctest.Wait()
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 0 {
			t.Errorf("%d files at 14 days", n)
		}
		w.end()
	})
}

// The server is down from day 10 to day 20: what got too old in the meantime is gone
// when Open returns, before anything else happens.
func TestDownForDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		for i := range 10 * 24 {
			w.log.Record(minute(i), OK)
			w.sleep(time.Hour)
		}
		w.end()
		w.sleep(10 * 24 * time.Hour)
		if n := len(w.records()); n != 4*24-1 {
			t.Errorf("%d records can be read while the server is down, want %d", n, 4*24-1)
		}
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 10*24 {
			t.Errorf("%d files before the start", n)
		}
		l, err := New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Open(); err != nil {
			t.Fatal(err)
		}
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 4*24-1 {
			t.Errorf("%d files after Open, want %d", n, 4*24-1)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if n := w.total(); n != 10*24 {
			t.Errorf("%d accesses in the anonymous stream", n)
		}
	})
}

// The system's clock is set back by five days. No record becomes younger by that:
// everything is gone 14 days of real time after its hour, and it is not gone before.
func TestClockBack(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"while it runs": false, "while it is down": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				w.start()
				const back = 5 * 24 * time.Hour
				born := map[netip.Addr]time.Time{} // by the bubble's clock
				for i := range 40 * 24 {
					if i == 10*24 {
						if restart {
							w.end()
						}
						w.setClock(-back)
						if restart {
							w.start()
						}
					}
					if i == 12*24 {
						// Another start, with the clock still wrong.
						w.end()
						w.sleep(time.Hour)
						w.start()
					}
					w.log.Record(minute(i), OK)
					born[minute(i)] = time.Now()
					w.sleep(time.Hour)
					if i%8 != 7 {
						continue // to read everything takes long
					}
					n := 0
					for _, r := range w.records() {
						if age := time.Since(born[r.Address]); age > MaxRaw {
							t.Fatalf("hour %d: a record of %s ago can be read", i, age)
						}
						n++
					}
					if want := min(i+1, 14*24-2); n < want {
						t.Fatalf("hour %d: %d records, want %d", i, n, want)
					}
				}
				w.end()
			})
		})
	}
}

// A wrong clock far in the future deletes everything, with an alarm; after it is right
// again the log keeps what is new for its time.
func TestClockForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newWorld(t, Config{Metrics: reg})
		w.start()
		w.log.Record(minute(0), OK)
		w.sleep(time.Hour)
		if v := gauge(t, reg, "comtrexx_access_log_alarm"); v != 0 {
			t.Errorf("alarm is %v before", v)
		}
		w.setClock(365 * 24 * time.Hour)
		w.sleep(sweepEvery)
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 0 {
			t.Errorf("%d segments after the jump", n)
		}
		if v := gauge(t, reg, "comtrexx_access_log_alarm"); v != 1 {
			t.Errorf("alarm is %v after the jump", v)
		}
		w.setClock(-365 * 24 * time.Hour)
		w.log.Record(minute(1), OK)
		w.sleep(13 * 24 * time.Hour)
		if n := len(w.records()); n != 1 {
			t.Errorf("%d records 13 days after the clock was set right", n)
		}
		if v := gauge(t, reg, "comtrexx_access_log_alarm"); v != 0 {
			t.Errorf("alarm is %v days later", v)
		}
		w.sleep(24 * time.Hour)
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 0 {
			t.Errorf("%d segments after 14 days", n)
		}
		w.end()
		sweeps := collect(t, Sweeps(w.dir))
		if !slices.ContainsFunc(sweeps, func(s Sweep) bool { return s.Note == "the clock jumped forward" }) {
			t.Error("no record of the jump")
		}
	})
}

// The end of a year, a leap day and a leap second (the clock is a second back): hours
// and days are those of UTC, nothing is lost.
func TestCalendar(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]time.Time{
		"year end":    time.Date(2026, 12, 31, 20, 0, 0, 0, time.UTC),
		"leap day":    time.Date(2028, 2, 28, 20, 0, 0, 0, time.UTC),
		"summer time": time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC),
		"winter time": time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{})
				w.setClock(start.Sub(begin))
				w.start()
				for i := range 30 * 60 {
					if i == 4*60 {
						w.setClock(-time.Second)
					}
					w.log.Record(minute(i), OK)
					w.sleep(time.Minute)
				}
				w.setClock(time.Second)
				w.end()
				hours := map[string]uint64{}
				for _, s := range w.rows() {
					hours[s.Hour.Format(hourLayout)] += s.Count
				}
				if len(hours) < 30 || len(hours) > 31 || w.total() != 30*60 {
					t.Errorf("%d hours with %d accesses: %v", len(hours), w.total(), hours)
				}
				days := map[Day]bool{}
				for _, v := range collect(t, w.reader().Visitors(time.Time{}, time.Time{})) {
					days[v.Day] = true
				}
				if len(days) < 2 || len(days) > 3 {
					t.Errorf("days: %v", days)
				}
				if n := len(w.records()); n != 30*60 {
					t.Errorf("%d records", n)
				}
				w.sleep(MaxRaw)
				if n := len(w.records()); n != 0 {
					t.Errorf("%d records 14 days later", n)
				}
			})
		})
	}
}

var errDisk = errors.New("no space left on device")

// The disk is full while a sweep has work to do: what is too old goes nevertheless, and
// only the record of it is missing, which is an alarm.
func TestDiskFullDuringASweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		reg := prometheus.NewRegistry()
		w := newWorld(t, Config{Metrics: reg, fault: func(point string) error {
			// The state file is never extended, and files can be removed.
			if full.Load() && point != "state" && point != "ratchet" && point != "clock" && point != "remove" {
				return fmt.Errorf("%s: %w", point, errDisk)
			}
			return nil
		}})
		w.start()
		size := int64(0)
		for i := range 13 * 24 {
			w.log.Record(minute(i), OK)
			w.sleep(time.Hour)
			info, err := os.Stat(w.dir + "/state")
			if err != nil || size != 0 && info.Size() != size {
				t.Fatalf("the state file has grown to %d, %v", info.Size(), err)
			}
			size = info.Size()
		}
		full.Store(true)
		for i := range 3 * 24 {
			w.log.Record(minute(i), OK)
			w.sleep(time.Hour)
			for _, r := range w.records() {
				if w.now().Sub(r.Time) > MaxRaw {
					t.Fatalf("a record of %s can be read", r.Time)
				}
			}
		}
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 11*24-1 {
			t.Errorf("%d segments, want %d", n, 11*24-1)
		}
		if v := gauge(t, reg, "comtrexx_access_log_alarm"); v != 1 {
			t.Errorf("alarm is %v", v)
		}
		full.Store(false)
		w.log.Record(minute(0), OK)
		w.sleep(time.Hour)
		if v := gauge(t, reg, "comtrexx_access_log_alarm"); v != 0 {
			t.Errorf("alarm is %v when there is room again", v)
		}
		w.end()
		if n := w.total(); n != 16*24+1 {
			t.Errorf("%d accesses in the anonymous stream, want %d", n, 16*24+1)
		}
		collect(t, Sweeps(w.dir))
	})
}

// The keys cannot be written at all: the files go in any case.
func TestKeysCannotBeDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		w := newWorld(t, Config{fault: func(point string) error {
			if broken.Load() && point == "state" {
				return errDisk
			}
			return nil
		}})
		w.start()
		w.log.Record(minute(0), OK)
		w.sleep(MaxRaw - time.Hour)
		broken.Store(true)
		w.sleep(2 * time.Hour)
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 0 {
			t.Errorf("%d files", n)
		}
		if keys, _, err := readState(w.dir + "/state"); err != nil || len(keys) != 1 {
			t.Errorf("control: %d keys, %v", len(keys), err)
		}
		broken.Store(false)
		w.sleep(2 * time.Minute)
		if keys, _, err := readState(w.dir + "/state"); err != nil || len(keys) != 0 {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		w.end()
	})
}

// Killed at every point of a sweep and of a change of the keys: the next start finishes
// it, and what should be there can be read.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"state", "ratchet", "remove", "sweeps", "clock"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var killed atomic.Bool
				w := newWorld(t, Config{fault: func(p string) error {
					if killed.Load() && p == point {
						return errors.New("killed")
					}
					return nil
				}})
				w.start()
				w.log.Record(minute(0), OK)
				w.sleep(time.Hour)
				w.log.Record(minute(1), OK)
				w.sleep(time.Minute)
				w.end()
				old := files(t, w.dir, "*"+segmentExt)
				w.sleep(MaxRaw - time.Hour - time.Minute)

				// What the process would have done next is lost with it.
				killed.Store(true)
				l, err := New(w.cfg)
				if err != nil {
					t.Fatal(err)
				}
				err = l.Open()
				if err == nil && !l.troubles["sweep"] {
					t.Fatal("not interrupted")
				}
				if err := l.release(); err != nil {
					t.Fatal(err)
				}
				for _, r := range w.records() {
					if r.Address == minute(0) {
						t.Error("the old record can be read after the kill")
					}
				}
				killed.Store(false)
				w.start()
				if now := files(t, w.dir, "*"+segmentExt); len(old) != 2 || len(now) != 1 {
					t.Errorf("%v are left of %v", now, old)
				}
				if r := w.records(); len(r) != 1 || r[0].Address != minute(1) {
					t.Errorf("records: %v", r)
				}
				w.end()
				collect(t, Sweeps(w.dir))
			})
		})
	}
}

// A process that was killed while it wrote a chunk: the next one goes on behind the
// last good one.
func TestTornChunk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		w.log.Record(minute(0), OK)
		w.sleep(time.Minute)
		w.end()
		name := files(t, w.dir, "*"+segmentExt)[0]
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte{0, 0, 0, nonceSize + recordSize + tagSize, 1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(w.records()); n != 1 {
			t.Errorf("%d records of a torn segment", n)
		}
		w.start()
		w.log.Record(minute(1), Failed)
		w.sleep(time.Minute)
		if r := w.records(); len(r) != 2 || r[1].Address != minute(1) || r[1].Class != Failed {
			t.Errorf("records: %+v", r)
		}
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 1 {
			t.Errorf("%d segments in one hour", n)
		}
		w.end()
	})
}

// A state file that cannot be opened is no reason not to start: what is sealed with the
// lost keys is deleted, and a sweep says so.
func TestLostKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		w.log.Record(minute(0), OK)
		w.sleep(time.Hour)
		w.end()
		state := w.dir + "/state"
		image, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		for i := ringAt; i < len(image); i++ {
			image[i] ^= 1
		}
		if err := os.WriteFile(state, image, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, err := range w.reader().Raw(time.Time{}, time.Time{}) {
			if !errors.Is(err, errState) {
				t.Errorf("read: %v", err)
			}
		}
		w.start()
		if n := len(files(t, w.dir, "*"+segmentExt)); n != 0 {
			t.Errorf("%d segments without keys", n)
		}
		w.log.Record(minute(1), OK)
		w.sleep(time.Minute)
		if r := w.records(); len(r) != 1 || r[0].Address != minute(1) {
			t.Errorf("records: %v", r)
		}
		w.end()
		if s := collect(t, Sweeps(w.dir)); !slices.ContainsFunc(s, func(s Sweep) bool { return s.Note != "" }) {
			t.Error("no record of the loss")
		}
	})
}

func TestOneProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		l, err := New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Open(); !errors.Is(err, ErrInUse) {
			t.Errorf("a second process: %v", err)
		}
		w.end()
	})
}

// A record of a sweep that was changed or taken away is found.
func TestSweepChain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		w.sleep(24 * time.Hour)
		w.end()
		path := files(t, w.dir, sweepsName+"-*")[0]
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(collect(t, Sweeps(w.dir))); n < 90 {
			t.Fatalf("%d sweeps", n)
		}
		all := slices.Collect(bytes.Lines(good))
		for name, bad := range map[string][]byte{
			"changed": slices.Concat(slices.Concat(all[:40]...), bytes.Replace(all[40], []byte(`"deleted":0`), []byte(`"deleted":1`), 1), slices.Concat(all[41:]...)),
			"missing": slices.Concat(slices.Concat(all[:40]...), slices.Concat(all[41:]...)),
		} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			var last error
			for _, last = range Sweeps(w.dir) {
			}
			if !errors.Is(last, ErrChain) {
				t.Errorf("%s: %v", name, last)
			}
		}
	})
}
