package passthrough

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

var (
	errSeen = errors.New("the hello was seen") // ends the handshake where it has done its work
	errLong = errors.New("the client says too much before it says where it wants to")
)

// hello reads a ClientHello, and gives what it says and all that was read. Of what is no
// ClientHello there is what was read; err is set where nothing can come of the connection.
// The caller sets the deadline.
func hello(c net.Conn, limit int) (info *tls.ClientHelloInfo, read []byte, err error) {
	r := &recorder{Conn: c, limit: limit}
	err = tls.Server(r, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(seen *tls.ClientHelloInfo) (*tls.Config, error) {
			info = seen
			return nil, errSeen
		},
	}).HandshakeContext(context.Background())
	switch {
	case info != nil || r.failed == nil:
		return info, r.read, nil
	default:
		return nil, r.read, errors.Join(r.failed, err)
	}
}

// recorder keeps what is read of a connection, and writes nothing to it.
type recorder struct {
	net.Conn
	limit  int
	read   []byte
	failed error
}

func (r *recorder) Read(p []byte) (int, error) {
	left := r.limit - len(r.read)
	if left <= 0 {
		r.failed = errLong
		return 0, errLong
	}
	n, err := r.Conn.Read(p[:min(left, len(p))])
	r.read = append(r.read, p[:n]...)
	if err != nil {
		r.failed = err
	}
	return n, err
}

// Write takes the alert with which the handshake ends.
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

// replayed is a connection of which something was read before.
type replayed struct {
	net.Conn
	before []byte
}

// Read gives what was read before, first.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.before) > 0 {
		n := copy(p, r.before)
		if r.before = r.before[n:]; len(r.before) == 0 {
			r.before = nil
		}
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite ends the sending direction.
func (r *replayed) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return r.Conn.Close()
}

// alert is a fatal unrecognized_name in a record of TLS (RFC 8446 §6).
var alert = []byte{21, 3, 3, 0, 2, 2, 112}
