package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
)

// heldBy is a session of a device that says who it is.
func heldBy(s dial.PresenceSession, instance, boot uint64) dial.PresenceSession {
	s.Instance, s.Boot = instance, boot
	return s
}

// metric gives the value of the fleet's collector.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	all, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	w.t.Fatalf("no metric %s", name)
	return 0
}

// Two holders at different relays: after a while it is an alarm, and the PBX is not used
// until there was one for long enough.
func TestTwoHolders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ first, second [2]uint64 }{
		"a copy of the files": {[2]uint64{1, 11}, [2]uint64{2, 12}},
		"a copy of the disk":  {[2]uint64{1, 11}, [2]uint64{1, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, "a", "b")
				first := heldBy(online(one, "s1", 1), c.first[0], c.first[1])
				second := heldBy(online(one, "s2", 2), c.second[0], c.second[1])
				w.snapshot("a", first, online(two, "t1", 1))
				w.snapshot("b")
				e := w.subscribe(t.Context())
				w.change("b", second)
				time.Sleep(2*time.Minute - time.Millisecond)
				e.want(t, "0000000001 online=true moved=false relay/b AUER-0")
				if !w.MayBeOnline(one) || w.metric("ccc_clone_alarms_total") != 0 {
					t.Error("an alarm before its time")
				}
				time.Sleep(time.Millisecond)
				e.want(t, "0000000001 online=false moved=true relay/b AUER-1108")
				if w.MayBeOnline(one) || w.Online() != 1 || w.metric("ccc_clone_alarms_total") != 1 || w.metric("ccc_pbxs_quarantined") != 1 {
					t.Errorf("%d online, %v alarms, %v in quarantine", w.Online(), w.metric("ccc_clone_alarms_total"), w.metric("ccc_pbxs_quarantined"))
				}
				// One goes and comes again: no end of the quarantine, and no other alarm.
				time.Sleep(time.Hour)
				w.change("b", ended(one, "s2", tunnel.CodeKicked))
				time.Sleep(9 * time.Minute)
				second.Session = "s3"
				w.change("b", second)
				time.Sleep(time.Hour)
				e.want(t, "0000000001 online=false moved=false relay/a AUER-1108", "0000000001 online=false moved=false relay/b AUER-1108")
				// One goes for good.
				w.change("b", ended(one, "s3", tunnel.CodeKicked))
				time.Sleep(10 * time.Minute)
				e.want(t, "0000000001 online=false moved=false relay/a AUER-1108", "0000000001 online=true moved=true relay/a AUER-0")
				if !w.MayBeOnline(one) || w.Online() != 2 || w.metric("ccc_clone_alarms_total") != 1 || w.metric("ccc_pbxs_quarantined") != 0 {
					t.Errorf("%d online, %v alarms, %v in quarantine", w.Online(), w.metric("ccc_clone_alarms_total"), w.metric("ccc_pbxs_quarantined"))
				}
			})
		})
	}
}

// What looks like two holders for a moment, or says nothing of itself, is none.
func TestOneHolder(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]struct {
		session dial.PresenceSession
		ends    bool // the first session does, before it is too late
	}{
		"a second tunnel":             {heldBy(online(one, "s2", 2), 1, 11), false},
		"a relay of an older version": {online(one, "s2", 2), false},
		"started anew":                {heldBy(online(one, "s2", 2), 1, 12), true},
		"enrolled anew":               {heldBy(online(one, "s2", 2), 2, 12), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, "a", "b")
				w.snapshot("a", heldBy(online(one, "s1", 1), 1, 11))
				w.snapshot("b", next.session)
				time.Sleep(45 * time.Second)
				if next.ends {
					w.change("a", ended(one, "s1", tunnel.CodeHeartbeatLost))
				}
				time.Sleep(time.Hour)
				if !w.MayBeOnline(one) || !w.IsOnline(one) || w.metric("ccc_clone_alarms_total") != 0 {
					t.Error("taken for a copy")
				}
			})
		})
	}
}

// A PBX in quarantine that loses both holders stays offline, is forgotten like others, and
// may come back.
func TestBothHoldersGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *fleet.Config) { c.Remembered = 1 }, "a", "b")
		w.snapshot("a", heldBy(online(one, "s1", 1), 1, 11), online(two, "t1", 1))
		w.snapshot("b", heldBy(online(one, "s2", 2), 2, 12))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.lost("a")
		w.lost("b")
		if st, ok := w.Status(one); !ok || st.Online || st.Reason != tunnel.CodeQuarantined || w.metric("ccc_pbxs_quarantined") != 1 {
			t.Fatalf("%+v, %t", st, ok)
		}
		if w.MayBeOnline(one) {
			t.Error("worth a call")
		}
		time.Sleep(10 * time.Minute) // the other one goes offline, and takes its place
		synctest.Wait()
		if _, ok := w.Status(one); ok || w.Online() != 0 || w.metric("ccc_pbxs_quarantined") != 0 {
			t.Errorf("known %t, %d online, %v in quarantine", ok, w.Online(), w.metric("ccc_pbxs_quarantined"))
		}
		w.snapshot("a", heldBy(online(one, "s3", 3), 1, 11))
		if !w.IsOnline(one) || w.Online() != 1 {
			t.Error("not online again")
		}
	})
}
