package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// SessionInfo is one session as the admin API shows it.
type SessionInfo struct {
	// Peer is the path of the endpoint, e.g. device/0123456789.
	Peer string `json:"peer"`
	// Slot tells the parallel tunnels of a device, or the instances of a service, apart.
	Slot      string           `json:"slot"`
	Transport tunnel.Transport `json:"transport"`
	// Choice is why the peer uses it, e.g. "preferred"; empty where it does not say.
	Choice string    `json:"choice,omitempty"`
	Since  time.Time `json:"since"`
	Epoch  uint64    `json:"epoch"`
	// RTT is the round trip that the peer measured last, 0 before the first.
	RTT time.Duration `json:"rtt_ns"`
	// Up is what the peer sends, as it last told, Down what the relay sends; nil where
	// nobody measures.
	Up   *PathInfo `json:"up,omitempty"`
	Down *PathInfo `json:"down,omitempty"`
	// Address is where the peer's packets come from now. It is shown, never kept.
	Address  string   `json:"address"`
	Services []string `json:"services"`
	Agent    string   `json:"agent"`
	// Streams open to the peer and opened by it, and the bytes of the former.
	StreamsTo   int64 `json:"streams_to"`
	StreamsFrom int64 `json:"streams_from"`
	Sent        int64 `json:"sent"`
	Received    int64 `json:"received"`
	Leaving     bool  `json:"leaving"`
}

// PathInfo is one direction of the way between a session's ends.
type PathInfo struct {
	RTT time.Duration `json:"rtt_ns"`
	// Packets since the session began, and the share of them that was lost.
	Packets uint64  `json:"packets"`
	Loss    float64 `json:"loss"`
	// Rate is how many bytes per second the congestion control lets pass.
	Rate uint64 `json:"bytes_per_second"`
}

func pathInfo(p *tunnelpb.Path) *PathInfo {
	if p == nil {
		return nil
	}
	i := &PathInfo{RTT: time.Duration(p.GetRttUs()) * time.Microsecond, Packets: p.GetSent(), Rate: p.GetRate()}
	if i.Packets > 0 {
		i.Loss = min(float64(p.GetLost())/float64(i.Packets), 1)
	}
	return i
}

// Status is the relay in a few numbers.
type Status struct {
	Relay    string `json:"relay"`
	Address  string `json:"address"`
	Devices  int    `json:"devices"`
	Services int    `json:"services"`
	Connects int    `json:"connects"`
	Draining bool   `json:"draining"`
	// Entries are in the order of the configuration, from when the relay is ready.
	Entries []EntryInfo `json:"entries,omitempty"`
}

// EntryInfo is one static entry.
type EntryInfo struct {
	// Address is where it listens, with the port that port 0 became.
	Address string `json:"address"`
	Target  string `json:"target"`
	Service string `json:"service"`
}

// Sessions lists the sessions by peer and slot; a non-empty peer bounds the list
// to that endpoint.
func (r *Relay) Sessions(peer string) []SessionInfo {
	list := []SessionInfo{}
	for _, s := range r.all() {
		if peer != "" && s.peer.Path() != peer {
			continue
		}
		list = append(list, SessionInfo{
			Peer: s.peer.Path(), Slot: s.key.Slot, Transport: s.ts.Transport(), Choice: tunnel.ChoiceName(s.hello.GetChoice()), Since: s.since, Epoch: s.epoch,
			RTT: time.Duration(s.rtt.Load()), Up: pathInfo(s.path.Load()), Down: pathInfo(tunnel.PathOf(s.ts)), Address: s.ts.RemoteAddr().String(),
			Services: s.hello.GetServices(), Agent: s.hello.GetAgent(),
			StreamsTo: s.toPeer.Load(), StreamsFrom: s.fromPeer.Load(),
			Sent: s.sent.Load(), Received: s.received.Load(), Leaving: s.leaving.Load(),
		})
	}
	slices.SortFunc(list, func(a, b SessionInfo) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Slot, b.Slot))
	})
	return list
}

// Status gives the counts.
func (r *Relay) Status() Status {
	r.mu.RLock()
	defer r.mu.RUnlock()
	st := Status{Relay: r.self.Path(), Address: r.addr, Connects: len(r.connects), Draining: r.draining}
	for _, s := range r.sessions {
		if s.peer.Kind == identity.KindDevice {
			st.Devices++
		} else {
			st.Services++
		}
	}
	for _, e := range r.entries {
		st.Entries = append(st.Entries, EntryInfo{Address: e.ln.Addr().String(), Target: e.target.Path(), Service: e.service})
	}
	return st
}

// Kick closes every session of an endpoint and gives their number. The endpoint
// comes back by itself.
func (r *Relay) Kick(peer identity.ID) int {
	list := r.route(peer)
	for _, s := range list {
		s.end(&tunnel.Error{Code: tunnel.CodeKicked})
	}
	return len(list)
}

// AdminHandler serves the admin API, for a listener that only operators reach:
//
//	GET  /v1/status                    Status
//	GET  /v1/sessions?peer=device/…    []SessionInfo
//	POST /v1/kick?peer=device/…        {"kicked": n}
//	POST /v1/drain                     Drained, when it is over
func (r *Relay) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, r.Status()) })
	mux.HandleFunc("GET /v1/sessions", func(w http.ResponseWriter, req *http.Request) {
		writeJSON(w, r.Sessions(req.FormValue("peer")))
	})
	mux.HandleFunc("POST /v1/kick", func(w http.ResponseWriter, req *http.Request) {
		id, err := identity.ParsePath(r.self.TrustDomain, req.FormValue("peer"))
		if err != nil {
			writeProblem(w, &httpError{http.StatusBadRequest, tunnel.Errorf(tunnel.CodeProtocol, "peer: %w", err)})
			return
		}
		writeJSON(w, map[string]int{"kicked": r.Kick(id)})
	})
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, req *http.Request) {
		// The drain goes on when the operator's client goes away.
		writeJSON(w, r.Drain(context.WithoutCancel(req.Context())))
	})
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone; nobody else to tell
}
