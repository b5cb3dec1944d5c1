package agent

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// backlog is how many calls of a listener may wait for Accept after their
// open-ack. Further ones wait for their open-ack.
const backlog = 16

// Conn is one call, as [Agent.Listen]'s Accept gives it. It has the end-to-end
// TLS already behind it, unless the service is raw. CloseWrite ends the sending
// direction alone; the caller reads io.EOF.
type Conn struct {
	duplex
	call   Call
	closed func() // may be called again
}

// Call is what is known about the call.
func (c *Conn) Call() Call { return c.call }

// Caller is who calls; see [Call.Verified].
func (c *Conn) Caller() identity.ID { return c.call.Caller }

// Close ends both directions; what was written is still delivered.
func (c *Conn) Close() error {
	defer c.closed()
	return c.duplex.Close()
}

// Reset gives up both directions at once; the caller's Read and Write fail with
// the code.
func (c *Conn) Reset(code tunnel.Code) {
	defer c.closed()
	c.duplex.Reset(code)
}

// Listen gives the listener of a service that is configured without a target.
// Accept gives a [*Conn]. Closing it refuses later calls with AUER-1305; it may
// be opened again. Before Listen, calls are refused the same way.
func (a *Agent) Listen(service string) (net.Listener, error) {
	s, ok := a.services[service]
	if !ok {
		return nil, fmt.Errorf("agent: no service %q is configured", service)
	}
	l, ok := s.handler.(*listener)
	if !ok {
		return nil, fmt.Errorf("agent: service %q is forwarded to %s", service, s.cfg.Target)
	}
	return l.open()
}

// listener hands calls to the program.
type listener struct {
	name    string
	timeout time.Duration

	mu   sync.Mutex    // guards what follows
	ln   *openListener // nil while nobody listens
	over bool          // Run has ended
}

func newListener(a *Agent, cfg Service) *listener {
	return &listener{name: cfg.Name, timeout: a.cfg.Limits.TargetTimeout}
}

func (l *listener) open() (net.Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
		return nil, net.ErrClosed
	case l.ln != nil:
		return nil, fmt.Errorf("agent: service %q has a listener already", l.name)
	}
	l.ln = &openListener{
		listener: l, queue: make(chan *Conn, backlog), room: make(chan struct{}, backlog), closed: make(chan struct{}),
	}
	return l.ln, nil
}

// run ends the listener with the agent.
func (l *listener) run(ctx context.Context) {
	<-ctx.Done()
	l.mu.Lock()
	l.over = true
	ln := l.ln
	l.mu.Unlock()
	if ln != nil {
		_ = ln.Close() // never fails
	}
}

func (l *listener) take(ctx context.Context, call Call, ans answer, over func()) error {
	l.mu.Lock()
	ln := l.ln
	l.mu.Unlock()
	if ln == nil {
		return tunnel.Errorf(tunnel.CodeTargetUnreachable, "nobody listens for %s", l.name)
	}
	start := time.Now()
	t := time.NewTimer(answerTime(l.timeout, ans))
	defer t.Stop()
	select {
	case ln.room <- struct{}{}: // given back by Accept
	case <-ln.closed:
		return tunnel.Errorf(tunnel.CodeTargetUnreachable, "nobody listens for %s", l.name)
	case <-ctx.Done():
		return tunnel.Errorf(tunnel.CodeShutdown, "the device is stopping")
	case <-t.C:
		return tunnel.Errorf(tunnel.CodeTooManyStreams, "%s takes no call at the moment", l.name)
	}
	if err := ans.accept(since(start, "target")); err != nil {
		<-ln.room
		ans.conn().Reset(tunnel.CodeOf(err))
		over()
		return nil // the caller has gone
	}
	once := sync.OnceFunc(over)
	stop := context.AfterFunc(ctx, once)
	ln.queue <- &Conn{duplex: ans.conn(), call: call, closed: func() { // has room
		stop()
		once()
	}}
	select {
	case <-ln.closed: // Close may have missed this one; those that were accepted go on
		ln.discard()
	default:
	}
	return nil
}

// openListener is what Listen gives.
type openListener struct {
	listener *listener
	queue    chan *Conn    // calls with an open-ack
	room     chan struct{} // one element per call in queue or about to be
	closed   chan struct{}
	once     sync.Once
}

func (o *openListener) Accept() (net.Conn, error) {
	select {
	case <-o.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-o.queue:
		<-o.room
		return c, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

func (o *openListener) Close() error {
	o.once.Do(func() {
		l := o.listener
		l.mu.Lock()
		if l.ln == o {
			l.ln = nil
		}
		l.mu.Unlock()
		close(o.closed)
		o.discard()
	})
	return nil
}

// discard resets the calls that nobody will accept any more.
func (o *openListener) discard() {
	for {
		select {
		case c := <-o.queue:
			c.Reset(tunnel.CodeTargetUnreachable)
		default:
			return
		}
	}
}

func (o *openListener) Addr() net.Addr { return serviceAddr(o.listener.name) }

// serviceAddr is a service's name as a net.Addr.
type serviceAddr string

func (serviceAddr) Network() string  { return "auerproxy" }
func (a serviceAddr) String() string { return string(a) }
