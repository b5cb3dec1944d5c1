package relay_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// One of a hundred tunnels is blocked; the other 99 do not notice.
func TestBlockOneOfAHundred(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) { c.Heartbeat = time.Minute }) // these devices send none
	const n = 100
	var sessions [n]tunnel.Session
	var ids [n]identity.ID
	for i := range n {
		ids[i] = identity.Device(td, identity.Serial(fmt.Sprintf("%010d", i)))
		tr := tunnel.TCP
		if i%2 == 0 {
			tr = tunnel.QUIC
		}
		s, _, err := w.join(tr, w.clientTLS(w.ca.Issue(ids[i], pkitest.Options{})), newHello())
		if err != nil {
			t.Fatal(err)
		}
		sessions[i] = s
	}
	for epoch, victim := range []int{42, 43} { // one of each transport
		w.relay.SetBlocks(blocks.NewList(uint64(epoch+1), ids[42].Path(), ids[victim].Path()))
		select {
		case <-sessions[victim].Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("session %d lives on", victim)
		}
		if got := tunnel.CodeOf(sessions[victim].Err()); got != tunnel.CodeBlocked {
			t.Errorf("session %d was cut with %v, want %s", victim, sessions[victim].Err(), tunnel.CodeBlocked)
		}
	}
	for i, s := range sessions {
		if i != 42 && i != 43 && s.Err() != nil {
			t.Errorf("session %d of %s ended: %v", i, ids[i], s.Err())
		}
	}
	w.online(ids[42], 0)
	w.online(ids[43], 0)
}

// blockedAfter is a block list that an identity comes onto after so many looks.
type blockedAfter struct {
	looks atomic.Int32
	free  int32
}

func (b *blockedAfter) Blocked(identity.ID) bool { return b.looks.Add(1) > b.free }

// A device that TLS let in, and that is blocked before its session is registered.
func TestBlockedBetweenHandshakeAndRegistration(t *testing.T) {
	t.Parallel()
	for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		t.Run(string(tr), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			device := identity.Device(td, serial)
			w.relay.SetBlocks(&blockedAfter{free: 1}) // the look within TLS
			s, _, err := w.join(tr, w.clientTLS(w.ca.Issue(device, pkitest.Options{})), newHello())
			if err == nil { // welcomed, and cut right behind it
				<-s.Done()
				err = s.Err()
			}
			if tunnel.CodeOf(err) != tunnel.CodeBlocked {
				t.Errorf("%v, want %s", err, tunnel.CodeBlocked)
			}
			w.online(device, 0)
			// The control: a list that nobody comes onto.
			w.relay.SetBlocks(blocks.NewList(1))
			if _, _, err := w.join(tr, w.clientTLS(w.ca.Issue(device, pkitest.Options{})), newHello()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The program around an agent sees why: as the number of the last refusal.
func TestBlockedAgentSeesWhy(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{agent.TransportAuto, agent.TransportQUIC, agent.TransportTCP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			blocked, other := identity.Device(td, serial), identity.Device(td, "0987654321")
			a, _ := w.device(serial, transport, nil)
			w.online(blocked, 1)
			w.relay.SetBlocks(blocks.NewList(1, blocked.Path()))
			refused := func(a *agent.Agent, code tunnel.Code) {
				t.Helper()
				var st agent.SlotStatus
				eventually(t, patience, "refused with "+code.String(), func() bool {
					st = a.Status().Slots[0]
					return st.State == agent.StateRefused && st.LastCode == code
				})
			}
			refused(a, tunnel.CodeBlocked) // while it was connected
			again, _ := w.device(serial, transport, nil)
			refused(again, tunnel.CodeCertificateRefused) // before
			control, _ := w.device(other.Serial(), transport, nil)
			w.online(other, 1)
			eventually(t, patience, "online", func() bool { return control.Status().Online() })
		})
	}
}
