package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Flow is one end-to-end TLS connection inside a relay stream. CloseWrite sends
// close_notify (RFC 8446 §6.1), which the other side reads as io.EOF.
type Flow struct {
	*tls.Conn
	wire   *wire.Conn
	stream tunnel.Stream
	peer   identity.ID
}

// Peer is the verified identity of the other side; zero where a server let a
// client without a certificate in.
func (f *Flow) Peer() identity.ID { return f.peer }

// OnData reports whether the flow runs on a data connection, see package bulk.
func (f *Flow) OnData() bool { return f.wire.Large }

// maxRecord is the plaintext of one TLS record (RFC 8446 §5.1).
const maxRecord = 16 << 10

// Write implements net.Conn. The records of a large write leave at once.
func (f *Flow) Write(p []byte) (int, error) {
	if len(p) <= maxRecord {
		return f.Conn.Write(p)
	}
	f.wire.Hold()
	n, err := f.Conn.Write(p)
	if ferr := f.wire.Flush(); err == nil && ferr != nil {
		n, err = 0, ferr
	}
	return n, err
}

// Reset gives up both directions at once, without close_notify.
func (f *Flow) Reset(code tunnel.Code) { f.stream.Reset(code) }

// ClientTLS runs the client's side of one TLS flow on an open stream with
// INNER_TLS, and verifies that the other side is want. protos are offered by ALPN
// (RFC 7301). The stream belongs to the flow from now on, and is reset on error.
// The error is a *tunnel.Error.
func ClientTLS(ctx context.Context, st tunnel.Stream, creds *enrol.Credentials, want identity.ID, protos ...string) (*Flow, error) {
	cfg := creds.ClientConfig(want.DNSName(), identity.Exactly(want), protos...)
	return handshake(ctx, st, func(c net.Conn) *tls.Conn { return tls.Client(c, cfg) }, clientError, identity.FromConnectionState)
}

// ClientTLSUnnamed is ClientTLS on a stream that others can read: the hello does
// not name the other side (no server_name extension, RFC 6066 §3), whose name has
// its serial. In TLS 1.3 nothing else does.
func ClientTLSUnnamed(ctx context.Context, st tunnel.Stream, creds *enrol.Credentials, want identity.ID, protos ...string) (*Flow, error) {
	cfg := creds.ClientConfig("", nil, protos...)
	roots := cfg.RootCAs
	verify := func(cs tls.ConnectionState) (identity.ID, error) {
		opts := x509.VerifyOptions{Roots: roots, DNSName: want.DNSName(), Intermediates: x509.NewCertPool()}
		for _, c := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		var err error
		if cs.VerifiedChains, err = cs.PeerCertificates[0].Verify(opts); err != nil {
			return identity.ID{}, &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		return identity.FromConnectionState(cs)
	}
	// crypto/tls cannot verify without sending the name, so VerifyConnection does
	// what it would do.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		got, err := verify(cs)
		if err != nil {
			return err
		}
		return identity.Exactly(want)(got)
	}
	return handshake(ctx, st, func(c net.Conn) *tls.Conn { return tls.Client(c, cfg) }, clientError, verify)
}

// ServerTLS is the other side of [ClientTLS]: it shows the endpoint's certificate
// and passes the client's verified identity to check. A client needs a
// certificate, unless clientAuth is tls.VerifyClientCertIfGiven; then check is
// called only for a client that has shown one.
func ServerTLS(ctx context.Context, st tunnel.Stream, creds *enrol.Credentials, clientAuth tls.ClientAuthType, check func(identity.ID) error, protos ...string) (*Flow, error) {
	cfg := creds.ServerConfig(check, protos...)
	cfg.SessionTicketsDisabled = true
	if clientAuth == tls.VerifyClientCertIfGiven {
		cfg.ClientAuth = clientAuth
		verify := cfg.VerifyConnection
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil
			}
			return verify(cs)
		}
	}
	return handshake(ctx, st, func(c net.Conn) *tls.Conn { return tls.Server(c, cfg) }, serverError, identity.FromConnectionState)
}

func handshake(ctx context.Context, st tunnel.Stream, side func(net.Conn) *tls.Conn, number func(context.Context, error) error, peer func(tls.ConnectionState) (identity.ID, error)) (*Flow, error) {
	w := wire.New(st)
	if d, ok := st.(interface{ OnData() bool }); ok {
		w.Large = d.OnData()
	}
	conn := side(w)
	f := &Flow{Conn: conn, wire: w, stream: st}
	err := conn.HandshakeContext(ctx)
	if cs := conn.ConnectionState(); err == nil && len(cs.PeerCertificates) > 0 {
		f.peer, err = peer(cs)
	}
	if err != nil {
		err = number(ctx, err)
		st.Reset(tunnel.CodeOf(err))
		return nil, err
	}
	return f, nil
}

// serverError gives a handshake that failed on the server's side its number. A
// client whose certificate is good but who is not the expected one is refused.
func serverError(ctx context.Context, err error) error {
	if errors.Is(err, identity.ErrUnexpected) {
		return &tunnel.Error{Code: tunnel.CodeRefusedByDevice, Message: err.Error(), Cause: err}
	}
	return clientError(ctx, err)
}

// clientError gives a failed handshake its number.
func clientError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return tunnel.Errorf(tunnel.CodeHandshakeTimeout, "end-to-end TLS: %w", ctx.Err())
	}
	err = tunnel.FromTLS(err)
	if tunnel.CodeOf(err) == tunnel.CodeInternal {
		return tunnel.Errorf(tunnel.CodeProtocol, "end-to-end TLS: %w", err)
	}
	return err
}

var _ net.Conn = (*Flow)(nil)
