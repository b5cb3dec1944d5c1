package quictun

import (
	"crypto/tls"
	"reflect"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Slim is [tunnel.Slim] for an accepted connection, after its handshake. Where quic-go
// keeps its TLS connection elsewhere, nothing happens.
func Slim(conn *quic.Conn) {
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
	tunnel.Slim((*tls.Conn)(v.Addr().UnsafePointer()))
	_ = conn.ConnectionState() // quic-go keeps what it said last
}
