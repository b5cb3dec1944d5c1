package pbx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Hostile says how a PBX attacks the control centre. The zero value is a good PBX.
type Hostile struct {
	// Serial is claimed in messages and in the proof instead of the certificate's.
	Serial identity.Serial
	// Replays is how often a completion is sent at once, in addition to the first. It is
	// also kept for [PBX.Replay].
	Replays int
	// WrongProof spoils the proof of a completion.
	WrongProof bool
	// BadSignature spoils the signature of every statement.
	BadSignature bool
	// Pause is made before each single byte that is read from or written to a
	// connection with the control centre. See [PBX.Cut].
	Pause time.Duration
	// Huge is the number of bytes that bodies are grown to, both of requests and of
	// answers.
	Huge int64
}

// claimed is the serial that messages name.
func (p *PBX) claimed() identity.Serial {
	if s := p.cfg.Hostile.Serial; s != "" {
		return s
	}
	return p.Serial()
}

// sign signs a statement.
func (p *PBX) sign(s wire.Statement) (string, error) {
	jws, err := wire.Sign(p.cfg.Credentials, s)
	if err != nil || !p.cfg.Hostile.BadSignature {
		return jws, err
	}
	at := strings.LastIndexByte(jws, '.') + 10
	wrong := byte('A')
	if jws[at] == wrong {
		wrong = 'B'
	}
	return jws[:at] + string(wrong) + jws[at+1:], nil
}

// hostileProof spoils a proof.
func (p *PBX) hostileProof(proof []byte) []byte {
	if p.cfg.Hostile.WrongProof {
		proof[0] ^= 1
	}
	return proof
}

// hostileComplete sends a completion, many times where the PBX replays it. It gives the
// first acknowledgement, or the last error.
func (p *PBX) hostileComplete(ctx context.Context, m wire.Complete) (jws string, err error) {
	if p.cfg.Hostile.Replays <= 0 {
		return p.cloud.Complete(ctx, m)
	}
	p.mu.Lock()
	p.recorded = &m
	p.mu.Unlock()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards jws and err
	for range p.cfg.Hostile.Replays + 1 {
		wg.Go(func() {
			ack, e := p.cloud.Complete(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			if e != nil {
				err = e
			} else if jws == "" {
				jws = ack
			}
		})
	}
	wg.Wait()
	if jws != "" {
		return jws, nil
	}
	return "", err
}

// errNoRecord: there is nothing to replay.
var errNoRecord = errors.New("no completion has been sent, or the PBX does not replay")

// Replay sends the last completion once more, as somebody would who has recorded it.
// It gives the control centre's answer to that, nil where it was taken. See
// [Hostile].Replays.
func (p *PBX) Replay(ctx context.Context) error {
	p.mu.Lock()
	m := p.recorded
	p.mu.Unlock()
	if m == nil {
		return errNoRecord
	}
	return p.call(ctx, func(ctx context.Context) error {
		_, err := p.cloud.Complete(ctx, *m)
		return err
	})
}

// Cut is how many connections a slow PBX has lost before it was done with them: the
// control centre had waited long enough. See [Hostile].Pause.
func (p *PBX) Cut() int64 { return p.cut.Load() }

// hostileConn is slow where the PBX is.
func (p *PBX) hostileConn(c net.Conn) net.Conn {
	if p.cfg.Hostile.Pause <= 0 {
		return c
	}
	return &slowConn{Conn: c, pause: p.cfg.Hostile.Pause, cut: &p.cut}
}

// hostileListener gives such connections.
func (p *PBX) hostileListener(ln net.Listener) net.Listener {
	if p.cfg.Hostile.Pause <= 0 {
		return ln
	}
	return slowListener{ln, p}
}

type slowListener struct {
	net.Listener
	pbx *PBX
}

// Accept implements [net.Listener].
func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.pbx.hostileConn(c), nil
}

// slowConn moves one byte at a time.
type slowConn struct {
	net.Conn
	pause time.Duration
	cut   *atomic.Int64
	over  atomic.Bool // closed here, or counted in cut
}

// Read implements [net.Conn].
func (c *slowConn) Read(b []byte) (int, error) {
	time.Sleep(c.pause)
	n, err := c.Conn.Read(b[:min(len(b), 1)])
	c.note(err)
	return n, err
}

// Write implements [net.Conn].
func (c *slowConn) Write(b []byte) (n int, err error) {
	for n < len(b) {
		time.Sleep(c.pause)
		m, err := c.Conn.Write(b[n : n+1])
		n += m
		if err != nil {
			c.note(err)
			return n, err
		}
	}
	return n, nil
}

// note counts the end of a connection that the other side has closed. A deadline is our
// own: an HTTP server sets one to stop waiting for the next request.
func (c *slowConn) note(err error) {
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !c.over.Swap(true) {
		c.cut.Add(1)
	}
}

// Close implements [net.Conn].
func (c *slowConn) Close() error {
	c.over.Store(true)
	return c.Conn.Close()
}

// hostileClient grows the bodies of requests.
func (p *PBX) hostileClient(c *http.Client) *http.Client {
	if p.cfg.Hostile.Huge > 0 {
		c.Transport = hugeRequests{c.Transport, p.cfg.Hostile.Huge}
	}
	return c
}

type hugeRequests struct {
	next http.RoundTripper
	size int64
}

// RoundTrip implements [http.RoundTripper].
func (h hugeRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	grown := h.grow(body)
	r = r.Clone(r.Context())
	r.Body, r.GetBody, r.ContentLength = io.NopCloser(grown), nil, -1
	return h.next.RoundTrip(r)
}

// grow adds a field to a JSON object.
func (h hugeRequests) grow(object []byte) io.Reader {
	head := append(bytes.TrimSuffix(bytes.Clone(object), []byte("}")), `,"huge":"`...)
	return io.MultiReader(bytes.NewReader(head), io.LimitReader(endless{}, max(0, h.size-int64(len(head))-2)), strings.NewReader(`"}`))
}

// endless is a text without end.
type endless struct{}

// Read implements [io.Reader].
func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// hostileHandler grows the bodies of answers.
func (p *PBX) hostileHandler(next http.Handler) http.Handler {
	size := p.cfg.Hostile.Huge
	if size <= 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		_, _ = io.Copy(w, io.LimitReader(endless{}, size)) // until the other side has enough
	})
}
