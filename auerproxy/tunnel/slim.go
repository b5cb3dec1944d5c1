package tunnel

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"reflect"
	"sync"

	"github.com/quic-go/quic-go"
)

// Slim drops what crypto/tls keeps of a handshake for the life of an accepted
// connection and never looks at again: the peer's certificates, parsed, and two buffers
// of the size of the handshake. That is 10 KiB of the 45 that an idle tunnel takes. There
// is no way to ask crypto/tls for it, so its fields are set here, under its own lock; a
// field that is not there, or is of another type, stays as it is (TestSlim tells).
//
// It is for the side that accepted, after the handshake, and before anybody reads from
// the connection. ConnectionState has no certificates any more.
func Slim(conn *tls.Conn) {
	v := reflect.ValueOf(conn).Elem()
	slim(v)
	if in, ok := field[bytes.Buffer](v, "rawInput"); ok && in.Len() == 0 {
		*in = bytes.Buffer{}
	}
}

// SlimQUIC is [Slim] for an accepted QUIC connection, after its handshake.
func SlimQUIC(conn *quic.Conn) {
	v := reflect.ValueOf(conn).Elem()
	for _, name := range []string{"cryptoStreamHandler", "conn", "conn"} { // *handshake.cryptoSetup, *tls.QUICConn, *tls.Conn
		v = v.FieldByName(name)
		for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return
		}
	}
	if v.Type() != reflect.TypeFor[tls.Conn]() {
		return
	}
	slim(v)
	_ = conn.ConnectionState() // quic-go keeps what it said last
}

func slim(v reflect.Value) {
	// Held by ConnectionState, and while messages after the handshake are taken up.
	mu, ok := field[sync.Mutex](v, "handshakeMutex")
	if !ok {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if certs, ok := field[[]*x509.Certificate](v, "peerCertificates"); ok {
		*certs = nil
	}
	if chains, ok := field[[][]*x509.Certificate](v, "verifiedChains"); ok {
		*chains = nil
	}
	if messages, ok := field[bytes.Buffer](v, "hand"); ok && messages.Len() == 0 {
		*messages = bytes.Buffer{}
	}
}

// field gives a field of a struct that is addressable, exported or not.
func field[T any](v reflect.Value, name string) (*T, bool) {
	f := v.FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return nil, false
	}
	return (*T)(f.Addr().UnsafePointer()), true
}
