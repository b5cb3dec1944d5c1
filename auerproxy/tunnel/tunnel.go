// Package tunnel is the contract of the Auerproxy tunnel: what a session and a
// stream are, the handshake that starts a session, the preamble and open-ack
// that start a stream, and the numbered errors of both. spec.md describes the
// bytes, errors.md the numbers.
//
// A session is one multiplexed, mutually authenticated transport connection. Two
// packages make sessions: quictun over QUIC, and muxtun over TLS 1.3 and yamux on
// any byte stream, be it TCP or a stream of another session: a session is a
// session, whether to a relay or through it. Both pass the suite in tunneltest.
//
// The order of events:
//
//	dialling side                          accepting side
//	Connect ── control stream: hello ────► AcceptHello
//	        ◄── welcome or refused ─────── Hello.Welcome / Hello.Refuse
//	Open ────── stream: preamble ────────► ReadPreamble      (either side may open)
//	     ◄───── open-ack or error ──────── WriteAck / Refuse
//	     ◄───── the call's bytes ────────►
//
// A completed TLS or QUIC handshake proves nothing to a client: only a welcome
// does. Before the open-ack no byte of a call has reached the device.
//
// The package is covered by the compatibility promise in the README.
package tunnel

import (
	"context"
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ALPN is the protocol name of a session to a relay, over QUIC and over TCP
// (RFC 7301). ALPNInner is that of an end-to-end session through a relay.
const (
	ALPN      = "auerproxy/1"
	ALPNInner = "auerproxy-inner/1"
)

// Version is the protocol version that this package speaks.
//
//	1: the first one
const Version = 1

// MinVersion is the lowest version that it still speaks.
const MinVersion = 1

// Transport names what carries a session.
type Transport string

// The transports.
const (
	QUIC Transport = "quic"
	TCP  Transport = "tcp"
	// InnerMux is a session that runs inside a stream of another one.
	InnerMux Transport = "inner"
)

// Session is one multiplexed connection to one verified peer. All methods may be
// called at the same time from several goroutines.
type Session interface {
	// Open opens a stream. It does not wait for the peer to take it. Where the
	// peer's limit of streams is reached, QUIC waits until ctx ends, and the other
	// transports give a stream that the peer resets with [CodeTooManyStreams]; both
	// may wait while many streams are not yet accepted. After ctx the error is its
	// cause; after the session it is the session's error, at once.
	//
	// The peer accepts a stream at the latest when it has its first byte, its end
	// or its reset; over QUIC not before that.
	Open(ctx context.Context) (Stream, error)

	// Accept gives the next stream that the peer opened, in the order of opening.
	// After ctx the error is its cause; after the session it is the session's error.
	Accept(ctx context.Context) (Stream, error)

	// CloseWithError ends the session and every stream in it. The peer gets code
	// and reason where the transport still reaches it; of a reason at least 512
	// bytes. Only the first call counts. All return after what the session started
	// has ended, and within about a second even if the peer has vanished. The error
	// is always nil.
	CloseWithError(code Code, reason string) error

	// Done is closed when the session has ended, for whatever reason.
	Done() <-chan struct{}

	// Err says why the session ended: an *Error with Remote set where the peer
	// closed it. Nil while the session lives.
	Err() error

	// Peer is the verified identity on the other side.
	Peer() identity.ID

	// Transport says what carries the session.
	Transport() Transport

	LocalAddr() net.Addr
	// RemoteAddr is the peer's address now; it changes when a NAT rebinds a QUIC
	// session.
	RemoteAddr() net.Addr
}

// Certified is a Session that knows until when the peer's certificate is good.
type Certified interface {
	Session
	Expires() time.Time
}

// Announcer is a Session that tells when the peer opens a stream, so that no
// goroutine has to wait in Accept: of ten thousand sessions almost all are idle, and
// a goroutine that waits is 4 KiB and more of each.
type Announcer interface {
	Session

	// Announce makes the session call f each time the peer opens a stream, and at
	// once where one waits. f must not block, nor call the session; it may be called
	// for a stream that Accept never gives, and until the session's end. Only one f
	// counts, the last.
	Announce(f func())

	// Unaccepted is how many of the streams that were announced, or opened before,
	// Accept has not given. Accept gives those in a moment, except where the
	// transport itself refused one, which is counted for ever.
	Unaccepted() int
}

// Stream is one ordered byte flow in a session. Read and Write may be called by
// one goroutine each at the same time; the other methods by anybody.
//
// Errors of Read and Write, the first that applies:
//
//	net.ErrClosed                   after the own Close; of Write also after CloseWrite
//	*Error with the code            after a Reset; Remote says whose
//	*Error with CodeCancelled       of Write, after the peer's Close
//	io.EOF                          of Read, after the peer's Close or CloseWrite
//	os.ErrDeadlineExceeded          after the deadline
//	*Error with CodeSessionLost     after the session's end, which is its cause
//
// Every stream must be closed or reset: until then it counts against the limits.
type Stream interface {
	// Close says that neither direction is wanted any more: what was written is
	// still delivered, a peer that goes on writing gets an error. It unblocks Read
	// and Write, waits for nothing and gives no error. After Reset it does nothing.
	net.Conn

	// CloseWrite ends the sending direction, after a running Write; the peer reads
	// io.EOF after the last byte. It fails as Write does where the peer will not
	// see that end: after a Reset, the peer's Close or the session's end.
	CloseWrite() error

	// Reset gives up both directions at once. The peer's Read and Write fail with
	// the code; bytes on their way may be lost, and a cut flow never looks complete.
	// It waits for nothing. Only the first call counts; after Close it does nothing.
	Reset(code Code)
}

// Awaiter is a Stream that tells when there is something to read, so that no
// goroutine has to wait in Read: most streams are idle most of the time.
type Awaiter interface {
	Stream

	// Await has f called, once and in a goroutine of its own, as soon as Read has
	// something to say: a byte, the end, an error; or a little earlier. A deadline need
	// not count: lift it before. It reports false, and f is never called, where Read has
	// failed already, or the stream cannot tell at the moment; it may where there is
	// something to read. Only the goroutine that reads may call it, and not again before
	// f was called.
	Await(f func()) bool
}

// Listener accepts sessions.
type Listener interface {
	// Accept waits for the next session whose transport handshake is done. One
	// bad or slow peer never delays another. After Close the error is
	// net.ErrClosed, after ctx its cause.
	Accept(ctx context.Context) (Session, error)
	// Addr is where the listener listens.
	Addr() net.Addr
	// Close stops accepting; accepted sessions live on.
	Close() error
}

// Dialer dials sessions.
type Dialer interface {
	// Dial connects to addr, "host:port", and returns when the transport
	// handshake is done on this side. The error is an *Error.
	Dial(ctx context.Context, addr string) (Session, error)
}
