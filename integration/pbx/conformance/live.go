package conformance

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// maxMessage bounds a message of the WebSocket, in bytes.
const maxMessage = 1 << 20

// echoSocket sends each message back as it came. Another origin's page is refused by the
// library.
func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"echo"}, OriginPatterns: []string{r.Header.Get("X-Forwarded-Host")},
	})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(maxMessage)
	for {
		kind, text, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, text); err != nil {
			return
		}
	}
}

// clock sends the time, and is done or goes on until the client goes.
func clock(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n, every := number(q.Get("n"), 0, 1_000_000), time.Duration(max(1, number(q.Get("every"), 1000, 60_000)))*time.Millisecond
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 1; n == 0 || i <= n; i++ {
		if _, err := fmt.Fprintf(w, "id: %d\nevent: time\ndata: %s\n\n", i, time.Now().UTC().Format(time.RFC3339Nano)); err != nil || rc.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// pollTime is how long a long poll waits.
const pollTime = 25 * time.Second

// poll counts events.
type poll struct {
	mu   sync.Mutex
	last int           // guarded by mu
	next chan struct{} // guarded by mu; closed at the next event
}

func newPoll() *poll { return &poll{next: make(chan struct{})} }

func (p *poll) now() (int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.next
}

func (p *poll) make(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	p.last++
	n := p.last
	close(p.next)
	p.next = make(chan struct{})
	p.mu.Unlock()
	answer(w, map[string]int{"number": n})
}

func (p *poll) wait(w http.ResponseWriter, r *http.Request) {
	late := time.NewTimer(pollTime)
	defer late.Stop()
	last, _ := p.now()
	after := number(r.URL.Query().Get("after"), last, 1<<30)
	for {
		n, next := p.now()
		if n > after {
			answer(w, map[string]int{"number": n})
			return
		}
		select {
		case <-next:
		case <-late.C:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-r.Context().Done():
			return
		}
	}
}
