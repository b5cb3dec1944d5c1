package wire

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const (
	td     = identity.DefaultTrustDomain
	serial = identity.Serial("0123456789")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	cccID = identity.Service(td, "ccc")
	pbxID = identity.Device(td, serial)
)

// at is a moment without a fraction, as RFC 3339 carries it either way.
var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func mustParse(t testing.TB, s string) token.Token {
	t.Helper()
	tok, err := token.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func sampleOffer(t testing.TB) Offer {
	return Offer{
		ID: "018f3c00-0000-7000-8000-000000000001", Serial: serial, Tenant: "Müller & Söhne GmbH", TenantID: "t-1",
		Token: mustParse(t, "0123-4567-89A5"), Nonce: bytes.Repeat([]byte{7}, NonceLen),
		IssuedAt: at, ExpiresAt: at.Add(24 * time.Hour), ExpiresIn: 24 * time.Hour, Brand: "auerswald",
	}
}

func sampleComplete() Complete {
	return Complete{
		Offer: "018f3c00-0000-7000-8000-000000000001", NoncePBX: bytes.Repeat([]byte{9}, NonceLen),
		Proof: bytes.Repeat([]byte{3}, 32), User: NewSecret("ccc-0a1b2c3d"), Password: NewSecret("correct horse"), Version: 7,
	}
}

func sampleRemote() Remote {
	return Remote{
		Session: "s-1", Pairing: "p-1", Serial: serial, Epoch: 3, Tenant: "Müller & Söhne GmbH", User: "Zoë Ångström",
		Reason: "extension 12 does not ring", Service: grant.SSH, Target: "switch.cellar", Life: time.Hour,
		IssuedAt: at, ExpiresAt: at.Add(15 * time.Minute), ExpiresIn: 15 * time.Minute,
	}
}

// sampleReport is of a session that is active.
func sampleReport() RemoteReport {
	until := at.Add(time.Hour)
	return RemoteReport{
		Session: "s-1", State: grant.Active, At: at, StartedAt: &at, Until: &until, Consent: ConsentPIN, BytesIn: 5, BytesOut: 7,
	}
}

// serve gives a client of a handler, over connections in memory.
func serve(t *testing.T, h http.Handler) *http.Client {
	t.Helper()
	ln := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return HTTPClient(ln.dial)
}

// pipeListener takes connections in memory.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.done)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// newCA makes an authority, the CCC's and the PBX's credentials.
func newCA(t testing.TB) *pkitest.CA { return pkitest.New(t, td) }
