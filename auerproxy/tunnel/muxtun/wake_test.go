package muxtun_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// heldConn is a connection whose Close takes as long as the test wants.
type heldConn struct {
	net.Conn
	closing chan struct{} // closed when Close is called
	release chan struct{} // Close waits for it
	once    sync.Once
}

func (c *heldConn) Close() error {
	c.once.Do(func() { close(c.closing) })
	<-c.release
	return c.Conn.Close()
}

// TestReadsEndBeforeTheConnectionIsClosed: a read that waits must not spin inside
// yamux for as long as closing the connection takes. With hundreds of sessions
// closing at once that left no processor time for anything else.
func TestReadsEndBeforeTheConnectionIsClosed(t *testing.T) {
	t.Parallel()
	td := identity.DefaultTrustDomain
	ca := pkitest.New(t, td)
	device, relay := identity.Device(td, tunneltest.Serial), identity.Relay(td, "r1")
	near, far := net.Pipe()
	held := &heldConn{Conn: near, closing: make(chan struct{}), release: make(chan struct{})}

	type made struct {
		s   tunnel.Session
		err error
	}
	accepted := make(chan made, 1)
	go func() {
		s, err := muxtun.Server(t.Context(), far, muxtun.Config{
			TLS: ca.Credentials(relay).ServerConfig(identity.Exactly(device), tunnel.ALPN),
		})
		accepted <- made{s, err}
	}()
	client, err := muxtun.Client(t.Context(), held, muxtun.Config{
		TLS: ca.Credentials(device).ClientConfig(identity.RelayDNSName(td), identity.Exactly(relay), tunnel.ALPN),
	})
	if err != nil {
		t.Fatal(err)
	}
	other := <-accepted
	if other.err != nil {
		t.Fatal(other.err)
	}
	const n = 8
	ended := make(chan error, n)
	for range n {
		a, _ := tunneltest.Streams(t, client, other.s)
		go func() {
			_, err := a.Read(make([]byte, 1))
			ended <- err
		}()
	}
	var closed sync.WaitGroup
	closed.Go(func() { _ = client.CloseWithError(tunnel.CodeIdle, "") })
	<-held.closing
	for range n {
		select {
		case err := <-ended:
			if tunnel.CodeOf(err) != tunnel.CodeSessionLost {
				t.Errorf("a read ended with %v", err)
			}
		case <-time.After(bound):
			t.Error("a read goes on while the connection is being closed")
		}
	}
	close(held.release)
	closed.Wait()
	_ = other.s.CloseWithError(tunnel.CodeOK, "")
}
