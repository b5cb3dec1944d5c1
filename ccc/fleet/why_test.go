package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// The status shows the start that the newest session is of, also after its end.
func TestBoot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a")
		w.snapshot("a", heldBy(online(one, "s1", 1), 1, 11))
		if st, _ := w.Status(one); st.Boot != 11 {
			t.Errorf("online with %d", st.Boot)
		}
		w.change("a", ended(one, "s1", tunnel.CodeHeartbeatLost))
		time.Sleep(time.Minute)
		if st, _ := w.Status(one); st.Online || st.Boot != 11 {
			t.Errorf("offline: %+v", st)
		}
		w.change("a", heldBy(online(one, "s2", 2), 1, 12))
		if st, _ := w.Status(one); !st.Online || st.Boot != 12 {
			t.Errorf("back: %+v", st)
		}
	})
}

// A relay that tells later of an older session makes the time online longer.
func TestOlderSessionIsToldLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a", "b")
		begin := time.Now()
		old, young := online(one, "s1", 1), online(one, "s2", 2)
		young.Since = begin.Add(time.Hour)
		time.Sleep(2 * time.Hour)
		w.snapshot("a", young)
		if st, _ := w.Status(one); !st.Since.Equal(young.Since) {
			t.Errorf("since %s, want %s", st.Since, young.Since)
		}
		w.snapshot("b", old)
		if st, _ := w.Status(one); !st.Since.Equal(begin) || st.Relay != "relay/a" {
			t.Errorf("%+v, want since %s", st, begin)
		}
	})
}

// A relay that does not let a PBX in for its certificate says why it is offline; of one
// that is online, or said by the PBX itself, that changes nothing.
func TestRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "a")
		w.snapshot("a", online(one, "s1", 1), online(two, "t1", 1))
		e := w.subscribe(t.Context())
		w.change("a", ended(one, "x", tunnel.CodeBlocked), ended("0000000009", "y", tunnel.CodeBlocked))
		e.want(t)
		w.change("a", ended(one, "s1", tunnel.CodeHeartbeatLost))
		time.Sleep(time.Minute)
		e.want(t, "0000000001 online=false moved=true relay/a AUER-1204")
		st, _ := w.Status(one)
		own := ended(one, "x", tunnel.CodeBlocked)
		own.ByDevice = true
		w.change("a", own, ended(one, "x", tunnel.CodeProtocol))
		e.want(t)
		w.change("a", ended(one, "x", tunnel.CodeCertificateExpired), ended(one, "x", tunnel.CodeCertificateExpired))
		e.want(t, "0000000001 online=false moved=false relay/a AUER-1102")
		if now, _ := w.Status(one); !now.Since.Equal(st.Since) {
			t.Errorf("offline since %s, want %s", now.Since, st.Since)
		}
		// Refused before it is missed.
		w.change("a", ended(two, "t1", tunnel.CodeHeartbeatLost))
		w.change("a", ended(two, "z", tunnel.CodeBlocked))
		time.Sleep(time.Minute)
		e.want(t, "0000000002 online=false moved=true relay/a AUER-1105")
		if _, known := w.Status("0000000009"); known {
			t.Error("one that was never there is known")
		}
	})
}

// A relay that was emptied or stopped has ended its sessions; of another one that is lost
// nothing is known.
func TestRelaySaysWhy(t *testing.T) {
	t.Parallel()
	for code, want := range map[tunnel.Code]tunnel.Code{
		tunnel.CodeDraining: tunnel.CodeDraining, tunnel.CodeShutdown: tunnel.CodeShutdown,
		tunnel.CodeHeartbeatLost: tunnel.CodeUnreachable, tunnel.CodePolicyDenied: tunnel.CodeUnreachable,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil, "a")
			w.snapshot("a", online(one, "s1", 1))
			w.update(dial.PresenceUpdate{Address: "a", Lost: true, Err: &tunnel.Error{Code: code}})
			time.Sleep(time.Minute)
			if st, _ := w.Status(one); st.Online || st.Reason != want {
				t.Errorf("lost with %s: %+v, want %s", code, st, want)
			}
		})
	}
}
