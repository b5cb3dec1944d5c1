package enrol_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const td = identity.DefaultTrustDomain

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// outcome is what both ends of one handshake saw.
type outcome struct {
	client, server       tls.ConnectionState
	clientErr, serverErr error
}

func (o outcome) ok() bool { return o.clientErr == nil && o.serverErr == nil }

// handshake connects the two over loopback (over net.Pipe both ends of a resumed
// handshake would wait for each other to read). The client reads one byte that
// the server sends, because in TLS 1.3 a refusal of the client's certificate
// reaches the client with its first read only.
func handshake(t *testing.T, client, server *tls.Config) outcome {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var o outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.server, o.serverErr = accept(l, server)
	}()
	o.client, o.clientErr = dial(l.Addr().String(), client)
	<-done
	return o
}

func accept(l net.Listener, cfg *tls.Config) (tls.ConnectionState, error) {
	conn, err := l.Accept()
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return tls.ConnectionState{}, err
	}
	s := tls.Server(conn, cfg)
	if err = s.Handshake(); err == nil {
		_, err = s.Write([]byte{1})
	}
	return s.ConnectionState(), err
}

func dial(addr string, cfg *tls.Config) (tls.ConnectionState, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return tls.ConnectionState{}, err
	}
	c := tls.Client(conn, cfg)
	if err = c.Handshake(); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return c.ConnectionState(), err
}
