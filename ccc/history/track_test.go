package history

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// day is the time in the tests.
var day = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

// at gives a time of it: at("8:30").
func at(clock string) time.Time {
	d, err := time.ParseDuration(strings.Replace(clock, ":", "h", 1) + "m")
	if err != nil {
		panic(err)
	}
	return day.Add(d)
}

func online(since string, boot uint64) fleet.Status {
	return fleet.Status{Online: true, Since: at(since), Transport: tunnel.QUIC, Relay: "relay/a", Boot: boot}
}

func offline(since string, boot uint64, why tunnel.Code) fleet.Status {
	return fleet.Status{Since: at(since), Transport: tunnel.QUIC, Relay: "relay/a", Boot: boot, Reason: why}
}

func byPBX(s fleet.Status) fleet.Status {
	s.ByPBX = true
	return s
}

// world is a track, and what it has written.
type world struct {
	*track
	out  *pending
	rows map[store.HistoryID]store.Interval
}

func newWorld(s fleet.Status, now string) *world {
	w := &world{out: newPending(), rows: map[store.HistoryID]store.Interval{}}
	w.track = &track{serial: "0000000001", epoch: 1, flaps: 12, out: w.out}
	w.begin(s, at(now))
	return w
}

// flush writes what waits, as the store does.
func (w *world) flush() {
	b := w.out.take(true)
	for _, id := range b.drops {
		delete(w.rows, id)
	}
	for _, i := range b.puts {
		w.rows[i.ID] = i
	}
}

// lines gives the intervals: "online 08:00–09:00", "offline 09:00–… lost".
func (w *world) lines() (all []string) {
	w.flush()
	for _, i := range slices.SortedFunc(maps.Values(w.rows), func(a, b store.Interval) int {
		return strings.Compare(string(a.ID), string(b.ID))
	}) {
		end := "…"
		if !i.Ended.IsZero() {
			end = i.Ended.Format("15:04")
		}
		all = append(all, strings.TrimSpace(string(i.Link)+" "+i.Started.Format("15:04")+"–"+end+" "+i.Reason))
	}
	return all
}

func (w *world) want(t *testing.T, want ...string) {
	t.Helper()
	if got := w.lines(); !slices.Equal(got, want) {
		t.Errorf("written\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Each reason, while the PBX is offline and when it is back with the start that it had
// before, with another one, and without saying.
func TestReasons(t *testing.T) {
	t.Parallel()
	seen := map[Reason]bool{}
	for _, c := range []struct {
		name                         string
		status                       fleet.Status
		while, same, another, silent Reason
	}{
		{"silent", offline("9:00", 7, tunnel.CodeHeartbeatLost), Lost, Network, Power, Unknown},
		{"broken", offline("9:00", 7, tunnel.CodeSessionLost), Lost, Network, Power, Unknown},
		{"farewell", byPBX(offline("9:00", 7, tunnel.CodeShutdown)), Shutdown, Shutdown, Restart, Shutdown},
		{"drained", offline("9:00", 7, tunnel.CodeDraining), RelayDrain, RelayDrain, RelayDrain, RelayDrain},
		{"relay stopped", offline("9:00", 7, tunnel.CodeShutdown), RelayDrain, RelayDrain, RelayDrain, RelayDrain},
		{"relay lost", offline("9:00", 7, tunnel.CodeUnreachable), RelayLost, RelayLost, RelayLost, RelayLost},
		{"blocked", offline("9:00", 7, tunnel.CodeBlocked), CertificateBlocked, CertificateBlocked, CertificateBlocked, CertificateBlocked},
		{"expired", offline("9:00", 7, tunnel.CodeCertificateExpired), CertificateExpired, CertificateExpired, CertificateExpired, CertificateExpired},
		{"replaced", offline("9:00", 7, tunnel.CodeReplaced), Replaced, Replaced, Replaced, Replaced},
		{"idle", offline("9:00", 7, tunnel.CodeIdle), IdleTimeout, IdleTimeout, IdleTimeout, IdleTimeout},
		{"kicked", offline("9:00", 7, tunnel.CodeKicked), Operator, Operator, Operator, Operator},
		{"protocol", offline("9:00", 7, tunnel.CodeProtocol), Protocol, Protocol, Protocol, Protocol},
		{"of a newer relay", offline("9:00", 7, 1999), Unknown, Unknown, Unknown, Unknown},
		{"two holders", offline("9:00", 7, tunnel.CodeQuarantined), Clone, Clone, Clone, Clone},
	} {
		link := "offline"
		if c.while == Clone {
			link = "quarantined"
		}
		for boot, want := range map[uint64]Reason{7: c.same, 8: c.another, 0: c.silent} {
			w := newWorld(online("8:00", 7), "8:00")
			w.see(c.status, at("9:01"))
			w.see(c.status, at("9:01"))
			w.want(t, "online 08:00–09:00", link+" 09:00–… "+string(c.while))
			w.see(online("9:05", boot), at("9:06"))
			w.want(t, "online 08:00–09:00", link+" 09:00–09:05 "+string(want), "online 09:05–…")
			seen[c.while], seen[want] = true, true
			if t.Failed() {
				t.Fatalf("%s, back with %d", c.name, boot)
			}
		}
	}
	for _, r := range Reasons() {
		if !seen[r] {
			t.Errorf("nothing gives %s", r)
		}
	}
	if got := ReasonOf(online("8:00", 7)); got != "" {
		t.Errorf("online for %q", got)
	}
}

func TestShutdownForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(online("8:00", 7), "8:00")
	w.see(byPBX(offline("9:00", 7, tunnel.CodeShutdown)), at("9:01"))
	w.see(online("9:11", 8), at("9:11"))
	w.want(t, "online 08:00–09:00", "offline 09:00–09:11 shutdown", "online 09:11–…")
}

// A PBX whose relay is lost and that was there all the time was online.
func TestRelayIsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(online("8:00", 7), "8:00")
	w.see(offline("9:00", 7, tunnel.CodeUnreachable), at("9:01"))
	w.see(online("8:00", 7), at("9:10"))
	w.want(t, "online 08:00–09:00", "online 09:00–…")
	w.see(offline("10:00", 7, tunnel.CodeUnreachable), at("10:01"))
	w.see(online("10:20", 7), at("10:20")) // the relay was started anew
	w.want(t, "online 08:00–09:00", "online 09:00–10:00", "offline 10:00–10:20 relay_lost", "online 10:20–…")
}

// What relays learn of a PBX while it is offline.
func TestRefusedWhileOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(online("8:00", 7), "8:00")
	w.see(offline("9:00", 7, tunnel.CodeHeartbeatLost), at("9:01"))
	w.see(offline("9:00", 7, tunnel.CodeCertificateExpired), at("9:30"))
	w.want(t, "online 08:00–09:00", "offline 09:00–… certificate_expired")
	w.see(offline("9:00", 7, tunnel.CodeUnreachable), at("9:40"))
	w.want(t, "online 08:00–09:00", "offline 09:00–… certificate_expired")
}

// A PBX that is away until its certificate has expired is so for that.
func TestExpiresWhileOffline(t *testing.T) {
	t.Parallel()
	gone := offline("9:00", 7, tunnel.CodeHeartbeatLost)
	gone.Expires = at("12:00")
	w := newWorld(online("8:00", 7), "8:00")
	w.expire(online("8:00", 7), at("13:00")) // it was renewed
	w.see(gone, at("9:01"))
	w.expire(gone, at("11:59"))
	w.want(t, "online 08:00–09:00", "offline 09:00–… lost")
	w.expire(gone, at("12:00"))
	w.see(gone, at("12:01"))
	w.want(t, "online 08:00–09:00", "offline 09:00–… certificate_expired")
	w.see(online("14:00", 8), at("14:00"))
	w.want(t, "online 08:00–09:00", "offline 09:00–14:00 certificate_expired", "online 14:00–…")
}

// A new start that nobody missed, another relay, and round trips that are twice as long.
func TestOnlineIsDivided(t *testing.T) {
	t.Parallel()
	first := online("8:00", 7)
	first.RTT = 20 * time.Millisecond
	w := newWorld(first, "8:00")
	w.see(online("8:00", 8), at("8:30"))
	w.want(t, "online 08:00–08:30", "offline 08:30–08:30 restart", "online 08:30–…")

	moved := online("8:00", 8)
	moved.Relay = "relay/b"
	w.see(moved, at("9:00"))
	moved.Transport, moved.RTT = tunnel.TCP, 20*time.Millisecond
	w.see(moved, at("9:10"))
	w.want(t, "online 08:00–08:30", "offline 08:30–08:30 restart", "online 08:30–09:00", "online 09:00–09:10", "online 09:10–…")

	moved.RTT = 30 * time.Millisecond
	w.see(moved, at("9:20"))
	moved.RTT = 90 * time.Millisecond
	w.see(moved, at("9:30")) // too soon
	if got, want := w.open.RTT, (store.RTT{Count: 3, Sum: 140 * time.Millisecond, Min: 20 * time.Millisecond, Max: 90 * time.Millisecond}); got != want {
		t.Errorf("round trips %+v, want %+v", got, want)
	}
	moved.RTT = 94 * time.Millisecond
	w.see(moved, at("10:30"))
	if got := w.lines(); got[len(got)-1] != "online 10:30–…" || w.open.RTT.Count != 1 {
		t.Errorf("written %v, then %+v", got, w.open.RTT)
	}
}

// More than twelve changes in an hour are one interval, until the PBX is quiet.
func TestFlapping(t *testing.T) {
	t.Parallel()
	w := newWorld(online("7:00", 7), "7:00")
	minute := at("8:00")
	clock := func() string { return minute.Format("15:04") }
	for range 6 { // online for half of the time
		w.see(offline(clock(), 7, tunnel.CodeHeartbeatLost), minute)
		minute = minute.Add(2 * time.Minute)
		w.see(online(clock(), 7), minute)
		minute = minute.Add(2 * time.Minute)
	}
	if got := w.lines(); len(got) != 13 {
		t.Fatalf("after twelve changes %v", got)
	}
	w.see(offline("8:24", 7, tunnel.CodeHeartbeatLost), at("8:24"))
	w.want(t, "online 07:00–08:00", "flapping 08:00–…")
	if w.open.Changes != 13 || w.open.OnlineFor != 12*time.Minute {
		t.Errorf("%d changes, online for %s", w.open.Changes, w.open.OnlineFor)
	}
	w.see(online("8:26", 7), at("8:26"))
	w.see(offline("8:30", 7, tunnel.CodeHeartbeatLost), at("8:30"))
	w.want(t, "online 07:00–08:00", "flapping 08:00–…")
	if w.open.Changes != 15 || w.open.OnlineFor != 16*time.Minute {
		t.Errorf("then %d changes, online for %s", w.open.Changes, w.open.OnlineFor)
	}
	w.see(online("8:31", 7), at("8:31"))
	w.settleDown(at("9:10"))
	w.want(t, "online 07:00–08:00", "flapping 08:00–…")
	w.settleDown(at("9:20"))
	w.want(t, "online 07:00–08:00", "flapping 08:00–09:20", "online 09:20–…")
	for _, i := range w.rows {
		if i.Link == store.LinkFlapping && i.OnlineFor != 65*time.Minute {
			t.Errorf("online for %s of it", i.OnlineFor)
		}
	}
	// As offline, with the reason.
	w = newWorld(online("7:00", 7), "7:00")
	w.flaps = 1
	w.see(offline("8:00", 7, tunnel.CodeDraining), at("8:00"))
	w.see(online("8:01", 7), at("8:01"))
	w.see(offline("8:02", 7, tunnel.CodeDraining), at("8:02"))
	w.settleDown(at("9:30"))
	w.want(t, "online 07:00–08:00", "flapping 08:00–09:30", "offline 09:30–… relay_drain")
}

// What becomes of an interval that lasts while the program is not there: it was seen at 9:00
// for the last time, and is there again at 9:30.
func TestProgramRestarts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after fleet.Status
		want          []string
	}{
		"goes on":               {online("8:00", 7), online("8:00", 7), []string{"online 08:00–…"}},
		"at another relay":      {online("8:00", 7), online("8:50", 7), []string{"online 08:00–…"}},
		"another session":       {online("8:00", 7), online("9:10", 7), []string{"online 08:00–09:00 unknown", "online 09:10–…"}},
		"gone":                  {online("8:00", 7), fleet.Status{}, []string{"online 08:00–09:00 unknown", "offline 09:30–… unknown"}},
		"gone, and it is known": {online("8:00", 7), offline("9:20", 7, tunnel.CodeDraining), []string{"online 08:00–09:00 unknown", "offline 09:20–… relay_drain"}},
		"still offline":         {offline("8:00", 7, tunnel.CodeHeartbeatLost), fleet.Status{}, []string{"offline 08:00–… lost"}},
		"back":                  {offline("8:00", 7, tunnel.CodeHeartbeatLost), online("9:10", 8), []string{"offline 08:00–09:10 power", "online 09:10–…"}},
		"back, the network":     {offline("8:00", 7, tunnel.CodeHeartbeatLost), online("9:10", 7), []string{"offline 08:00–09:10 network", "online 09:10–…"}},
		"quarantine forgotten":  {offline("8:00", 7, tunnel.CodeQuarantined), online("8:30", 7), []string{"quarantined 08:00–09:00 unknown", "online 09:00–…"}},
		"not told yet":          {online("8:00", 7), fleet.Status{Reason: tunnel.CodeUnreachable}, []string{"online 08:00–09:00 unknown", "offline 09:30–… relay_lost"}},
	} {
		w := newWorld(c.before, "8:00")
		w.flush()
		w.track = restored(w.open, 12, w.out)
		w.resume(c.after, at("9:00"), at("9:30"))
		w.want(t, c.want...)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	// One that flapped.
	w := newWorld(online("7:00", 7), "7:00")
	w.flaps = 1
	w.see(offline("8:00", 7, tunnel.CodeDraining), at("8:00"))
	w.see(online("8:01", 7), at("8:01"))
	w.track = restored(w.open, 1, w.out)
	w.resume(online("8:01", 7), at("9:00"), at("9:30"))
	w.want(t, "online 07:00–08:00", "flapping 08:00–09:00", "online 09:00–…")
}

// A clock that goes back makes no interval that ends before it begins.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(online("8:00", 7), "8:00")
	w.see(offline("7:00", 7, tunnel.CodeDraining), at("8:30"))
	w.see(online("7:30", 7), at("8:31"))
	w.want(t, "online 08:00–08:00", "offline 08:00–08:00 relay_drain", "online 08:00–…")
}

func TestPending(t *testing.T) {
	t.Parallel()
	p := newPending()
	old := store.Interval{ID: "a", Reason: "old"}
	p.later(old)
	if p.urgent() {
		t.Error("what is for later is urgent")
	}
	if b := p.take(false); len(b.puts) != 0 {
		t.Errorf("took %+v", b)
	}
	p.put(store.Interval{ID: "b"})
	b := p.take(true)
	if !p.urgent() && len(b.puts) != 2 || p.urgent() {
		t.Errorf("took %+v", b)
	}
	// It was not written, and something is newer.
	p.put(store.Interval{ID: "a", Reason: "new"})
	p.drop("b")
	p.back(b)
	again := p.take(true)
	if len(again.puts) != 1 || again.puts[0].Reason != "new" || len(again.drops) != 1 {
		t.Errorf("then %+v", again)
	}
}
