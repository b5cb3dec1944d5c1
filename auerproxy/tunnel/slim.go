package tunnel

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"reflect"
	"sync"
	"sync/atomic"
)

// issuer is the issuer of the last peer's certificate. crypto/tls parses a certificate
// once for as long as somebody has it, and most peers have the same issuer.
var issuer atomic.Pointer[x509.Certificate]

// Slim drops what crypto/tls keeps of a handshake for the life of an accepted
// connection and never looks at again: the peer's certificates, parsed, and two buffers
// of the size of the handshake. That is 12 KiB of the 48 that an idle tunnel over TCP took.
// There is no way to ask crypto/tls for it, so its fields are set here, under its own lock;
// a field that is not there, or is of another type, stays as it is (TestSlim tells).
//
// It is for the side that accepted, after the handshake, and before anybody reads from
// the connection; in one of QUIC nobody does. ConnectionState has no certificates any more.
func Slim(conn *tls.Conn) {
	v := reflect.ValueOf(conn).Elem()
	// Held by ConnectionState, and while messages after the handshake are taken up.
	mu, ok := field[sync.Mutex](v, "handshakeMutex")
	if !ok {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if certs, ok := field[[]*x509.Certificate](v, "peerCertificates"); ok {
		if len(*certs) > 1 {
			issuer.Store((*certs)[1])
		}
		*certs = nil
	}
	if chains, ok := field[[][]*x509.Certificate](v, "verifiedChains"); ok {
		*chains = nil
	}
	for _, name := range []string{"hand", "rawInput"} { // messages and records that have come
		if b, ok := field[bytes.Buffer](v, name); ok && b.Len() == 0 {
			*b = bytes.Buffer{}
		}
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
