package bulk

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Rest is how long a [Dialer] makes no further attempt after one has failed: where
// TCP is blocked, not every call shall wait for it.
const Rest = time.Minute

// DialTimeout bounds one attempt. A data connection is worth no longer wait, as the
// tunnel is there.
const DialTimeout = 2 * time.Second

// ErrRest: an attempt failed a short while ago.
var ErrRest = errors.New("data connection: not tried again yet")

// Dialer makes data connections to one relay.
type Dialer struct {
	// Connect makes a TCP connection to the relay.
	Connect func(ctx context.Context) (net.Conn, error)

	mu   sync.Mutex
	rest time.Time // guarded by mu; no attempt before
}

// NewDialer makes a Dialer that connects as a tunnel's TCP transport does, through
// its proxy too; nil where that cannot be told apart from the tunnel.
func NewDialer(tcp tunnel.Dialer, addr string) *Dialer {
	c, ok := tcp.(interface {
		Connect(ctx context.Context, addr string) (net.Conn, error)
	})
	if !ok {
		return nil
	}
	return &Dialer{Connect: func(ctx context.Context) (net.Conn, error) { return c.Connect(ctx, addr) }}
}

// Dial makes a data connection.
func (d *Dialer) Dial(ctx context.Context, t Ticket) (net.Conn, error) {
	d.mu.Lock()
	resting := time.Now().Before(d.rest)
	d.mu.Unlock()
	if resting {
		return nil, ErrRest
	}
	dctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	conn, err := d.Connect(dctx)
	if err == nil {
		err = Open(dctx, conn, t)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.Failed()
		}
		return nil, err
	}
	return conn, nil
}

// Failed starts the rest: a data connection broke before it carried anything.
func (d *Dialer) Failed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rest = time.Now().Add(Rest)
}

// The first byte in the tunnel stream of a call with data connections: where the
// caller runs the end-to-end TLS.
const (
	onStream = 0
	onData   = 1
)

// Choose tells the other side, and the relay, where the call runs.
func Choose(stream net.Conn, data bool) error {
	b := []byte{onStream}
	if data {
		b[0] = onData
	}
	_, err := stream.Write(b)
	return err
}

// Chosen reads the choice of the other side, at most until timeout has passed.
func Chosen(stream net.Conn, timeout time.Duration) (data bool, err error) {
	if err := stream.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return false, err
	}
	b := make([]byte, 1)
	if _, err := stream.Read(b); err != nil {
		return false, err
	}
	if b[0] > onData {
		return false, errors.New("neither stream nor data connection chosen")
	}
	return b[0] == onData, stream.SetReadDeadline(time.Time{})
}
