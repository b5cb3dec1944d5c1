package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

const (
	// window is how many bytes of output may be on their way to a page that has not shown
	// them.
	outputWindow = 256 << 10
	// maxInput is how many messages with input may wait for the target.
	maxInput = 256
	// maxSide bounds a terminal, in characters.
	maxSide = 1000
	// writeTime bounds one message to the page.
	writeTime = 10 * time.Second
)

// heard is a text message of the page. Which fields count depends on Type.
type heard struct {
	Type    string   `json:"type"`    // login, trust, answer, size or shown
	User    string   `json:"user"`    // of login
	Columns int      `json:"columns"` // of login and size
	Rows    int      `json:"rows"`
	Answers []string `json:"answers"` // of answer, one for each prompt
	Bytes   int64    `json:"bytes"`   // of shown: how many more the page has shown
}

// said is a text message to the page. Binary ones are what the terminal shows.
type said struct {
	Type        string   `json:"type"` // recorded, key, ask, ready or end
	Algorithm   string   `json:"algorithm,omitempty"`
	Fingerprint string   `json:"fingerprint,omitempty"`
	Pinned      bool     `json:"pinned,omitempty"`
	Text        string   `json:"text,omitempty"` // of the target with ask, of the gateway with end
	Prompts     []prompt `json:"prompts,omitempty"`
	Reason      string   `json:"reason,omitempty"` // of end, in a word
	Code        *int     `json:"code,omitempty"`   // of end with the reason exit
	Error       string   `json:"error,omitempty"`  // of end: the number of an error
}

// prompt is something that the target asks.
type prompt struct {
	Text string `json:"text"`
	Echo bool   `json:"echo"`
}

// outcome is how a terminal ends.
type outcome struct {
	reason string
	text   string
	code   *int
	number string
}

// shell is one terminal: a page on the one side, an SSH client on the other.
type shell struct {
	s    *session
	t    *texts
	ws   *websocket.Conn
	idle *idle
	tape *recording // owned by run, and used by Write; nil: nothing is recorded

	answers chan heard    // login, trust and answer
	input   chan []byte   // what is typed
	sizes   chan heard    // the newest size
	shown   chan struct{} // the page has shown more

	mu      sync.Mutex
	pending int64    // guarded by mu; bytes that the page has not shown
	end     *outcome // guarded by mu; nil: it goes on

	ctx  context.Context // ends with the terminal
	stop context.CancelFunc
}

// shell is the WebSocket of a terminal's page.
func (g *Gateway) shell(w http.ResponseWriter, r *http.Request, s *session) {
	if !g.reaches(w, r, s, grant.SSH) {
		return
	}
	leave := takePlace(&s.terminals, g.cfg.Limits.Terminals)
	if leave == nil {
		g.refuse(w, r, refusedStreams)
		return
	}
	defer leave()
	if !g.enter() { // a connection that was hijacked is no business of the server's
		g.refuse(w, r, refusedEnded)
		return
	}
	defer g.watches.Done()
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	ws.SetReadLimit(int64(g.cfg.Limits.MessageBytes))
	sh := &shell{
		s: s, t: textOf(r), ws: ws, answers: make(chan heard, 1), input: make(chan []byte, maxInput), sizes: make(chan heard, 1),
		shown: make(chan struct{}, 1),
	}
	sh.ctx, sh.stop = context.WithCancel(context.Background())
	defer sh.stop()
	sh.idle = newIdle(g.cfg.Timing.FlowIdle, func() { sh.finish(outcome{reason: "idle", text: sh.t.Terminal.Idle}) })
	defer sh.idle.stop()
	defer context.AfterFunc(s.ctx, sh.sessionOver)()
	var reader sync.WaitGroup
	reader.Go(sh.listen)
	sh.finish(sh.run())
	sh.goodbye()
	reader.Wait()
}

// finish ends the terminal; the first one says how.
func (sh *shell) finish(o outcome) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.end == nil {
		sh.end = &o
	}
	sh.stop()
}

func (sh *shell) sessionOver() {
	v, _ := sh.s.look()
	sh.finish(outcome{reason: "over", text: sh.t.over(v.Cause)})
}

// goodbye tells the page how it has ended.
func (sh *shell) goodbye() {
	sh.mu.Lock()
	o := *sh.end
	sh.mu.Unlock()
	_ = sh.say(said{Type: "end", Reason: o.reason, Text: o.text, Code: o.code, Error: o.number}) // it may have gone
	_ = sh.ws.Close(websocket.StatusNormalClosure, "")
}

// say sends a message, also after the end.
func (sh *shell) say(m said) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTime)
	defer cancel()
	return sh.ws.Write(ctx, websocket.MessageText, text)
}

// listen takes what the page says until it is gone.
func (sh *shell) listen() {
	gone := outcome{reason: "protocol", text: sh.t.Terminal.Protocol}
	for {
		kind, text, err := sh.ws.Read(context.Background()) // goodbye ends it
		if err != nil {
			sh.finish(gone)
			return
		}
		sh.idle.touch()
		if kind == websocket.MessageBinary {
			select {
			case sh.input <- text:
			default: // to wait would keep out what makes room
				sh.finish(outcome{reason: "slow", text: sh.t.Terminal.Slow})
			}
			continue
		}
		m, err := parseHeard(text)
		clear(text) // there may be a password in it
		if err != nil {
			sh.finish(gone)
			continue
		}
		switch m.Type {
		case "size":
			select {
			case <-sh.sizes: // an older one
			default:
			}
			sh.sizes <- m
		case "shown":
			sh.mu.Lock()
			sh.pending = max(0, sh.pending-m.Bytes)
			sh.mu.Unlock()
			select {
			case sh.shown <- struct{}{}:
			default:
			}
		default:
			select {
			case sh.answers <- m:
			default: // nobody has asked
				sh.finish(gone)
			}
		}
	}
}

var errHeard = errors.New("not a message of a terminal")

// parseHeard reads a text message of a page.
func parseHeard(text []byte) (m heard, err error) {
	if json.Unmarshal(text, &m) != nil {
		return heard{}, errHeard
	}
	switch m.Type {
	case "login":
		if m.User == "" || len(m.User) > 256 || !m.sized() {
			return heard{}, errHeard
		}
	case "size":
		if !m.sized() {
			return heard{}, errHeard
		}
	case "shown":
		if m.Bytes < 0 || m.Bytes > outputWindow {
			return heard{}, errHeard
		}
	case "trust", "answer":
	default:
		return heard{}, errHeard
	}
	return m, nil
}

func (m heard) sized() bool {
	return m.Columns > 0 && m.Columns <= maxSide && m.Rows > 0 && m.Rows <= maxSide
}

// await gives what the page says next of that type.
func (sh *shell) await(ctx context.Context, kind string) (heard, error) {
	select {
	case m := <-sh.answers:
		if m.Type != kind {
			return heard{}, errHeard
		}
		return m, nil
	case <-ctx.Done():
		return heard{}, ctx.Err()
	}
}

// Write shows p. It waits while the page has much to show.
func (sh *shell) Write(p []byte) (n int, err error) {
	sh.idle.touch()
	if sh.tape != nil {
		if err := sh.tape.output(p); err != nil {
			sh.unrecorded()
			return 0, err
		}
	}
	for len(p) > 0 {
		part := p[:min(len(p), flow.MaxMessage)]
		if err := sh.room(int64(len(part))); err != nil {
			return n, err
		}
		// Not sh.ctx: a write that is interrupted ends the connection, over which is still
		// to be said why.
		ctx, cancel := context.WithTimeout(context.Background(), writeTime)
		err := sh.ws.Write(ctx, websocket.MessageBinary, part)
		cancel()
		if err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// unrecorded ends a terminal that the PBX does not take the recording of.
func (sh *shell) unrecorded() {
	sh.finish(outcome{reason: "recording", text: sh.t.Terminal.Unrecorded})
}

// room waits for room for n bytes.
func (sh *shell) room(n int64) error {
	for {
		sh.mu.Lock()
		ok := sh.pending+n <= outputWindow
		if ok {
			sh.pending += n
		}
		sh.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-sh.shown:
		case <-sh.ctx.Done():
			return sh.ctx.Err()
		}
	}
}

// lost is the outcome where the target or the way to it has gone.
func (sh *shell) lost(err error) outcome {
	if sh.ctx.Err() != nil {
		return outcome{} // it has one
	}
	if e, ok := errors.AsType[*flow.EndedError](sh.s.why(err)); ok {
		return outcome{reason: "over", text: sh.t.over(e.Cause)}
	}
	o := outcome{reason: "gone", text: sh.t.Terminal.Gone}
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		o.number = e.Code.String()
	}
	return o
}

// dialTarget opens a call that is reset when the terminal ends.
func (sh *shell) dialTarget(ctx context.Context) (net.Conn, error) {
	c, err := sh.s.dial(ctx, string(grant.SSH))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(sh.ctx, func() { splice.Reset(c, tunnel.CodeCancelled) })
	return c, nil
}
