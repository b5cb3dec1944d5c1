package dial

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// mostFound bounds the memory for where targets were reached.
const mostFound = 1 << 17

// rounds is how often all relays are asked while their answers say that the target
// is moving between them.
const rounds = 4

// movePause is the time that a moving target gets before the next try: 25 ms, and
// twice as much each time, with jitter.
func movePause(attempt int) time.Duration {
	d := 25 * time.Millisecond << (attempt - 1)
	return d/2 + rand.N(d)
}

// user takes a relay stream that was just opened; it resets it on error.
type user func(ctx context.Context, u *uplink, st tunnel.Stream, ack *tunnel.OpenAck) error

// through opens a relay stream to the call's target and passes it to use, which
// owns it then. It asks one relay after the other, as long as the answers
// guarantee that no byte of the call has reached the target, and gives the most
// telling error.
func (d *Dialer) through(ctx context.Context, call Call, inner tunnelpb.Inner, use user) error {
	var told error
	for round := 1; ; round++ {
		moving := false
		told = nil
		for _, l := range d.order(call.Target) {
			u, err := l.get(ctx)
			if err != nil {
				// Without a session nothing can have reached the target, whatever the
				// number of the error.
				told = moreTelling(told, err)
				if ctx.Err() != nil {
					return told
				}
				continue
			}
			err = d.openVia(ctx, u, call.preamble(inner), use)
			if err == nil {
				d.remember(call.Target, l)
				return nil
			}
			told = moreTelling(told, err)
			if ctx.Err() != nil || !tunnel.Retryable(err) {
				return err
			}
			moving = moving || onTheMove(err)
		}
		if round == rounds || !moving || !pause(ctx, movePause(round)) {
			return told
		}
	}
}

// openVia opens one relay stream. A session that is lost while the two ends are
// still in their handshake counts as gone before the open: no call has begun.
func (d *Dialer) openVia(ctx context.Context, u *uplink, p *tunnel.Preamble, use user) error {
	st, ack, err := u.open(ctx, p)
	if err != nil {
		return err
	}
	err = use(ctx, u, st, ack)
	switch tunnel.CodeOf(err) {
	case tunnel.CodeSessionLost, tunnel.CodeReset:
		return tunnel.Errorf(tunnel.CodeTunnelGone, "the relay stream ended in the handshake: %w", err)
	default:
		return err
	}
}

// dialSession makes the end-to-end session that the pool keeps.
func (d *Dialer) dialSession(ctx context.Context, key e2e.Key) (*e2e.Session, error) {
	var session *e2e.Session
	call := Call{Target: key.Target, Service: key.Service, Purpose: "session", RequestID: tunnel.NewID()}
	err := d.through(ctx, call, tunnelpb.Inner_INNER_MUX, func(ctx context.Context, u *uplink, st tunnel.Stream, _ *tunnel.OpenAck) error {
		s, err := e2e.Client(ctx, st, d.cfg.Credentials, key.Target, d.hello(d.boot))
		if err != nil {
			return err
		}
		u.track(s)
		session = s
		return nil
	})
	return session, err
}

// order lists the relays to ask: sessions that are up, the one that reached the
// target last first; then those that drain; then those that are not up.
func (d *Dialer) order(target identity.ID) []*link {
	d.mu.Lock()
	last := d.found[target]
	d.mu.Unlock()
	const classes = 4
	var by [classes][]*link
	for _, l := range d.links {
		class := l.class()
		if class == classUp && l == last {
			class = 0
		}
		by[class] = append(by[class], l)
	}
	// Equals are asked in a random order, so that callers share the relays.
	out := make([]*link, 0, len(d.links))
	for _, list := range by {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		out = append(out, list...)
	}
	return out
}

func (d *Dialer) remember(target identity.ID, l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.found) >= mostFound {
		for id := range d.found { // any one: the cost of forgetting is one refused open
			delete(d.found, id)
			break
		}
	}
	d.found[target] = l
}

// hello is what the dialer says at the start of a session.
func (d *Dialer) hello(instance []byte) *tunnel.Hello {
	d.mu.Lock()
	defer d.mu.Unlock()
	services := make([]string, 0, len(d.listeners))
	for name := range d.listeners {
		services = append(services, name)
	}
	return &tunnel.Hello{
		InstanceId: instance, BootId: d.boot, Attempt: d.attempts.Add(1),
		Services: services, Agent: d.cfg.Program,
	}
}
