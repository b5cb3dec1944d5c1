package tunnel_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// certificateAlerts are the alerts of RFC 8446 §6.2 with a number of the tunnel.
var certificateAlerts = map[tls.AlertError]tunnel.Code{
	42: tunnel.CodeCertificateRefused, 44: tunnel.CodeBlocked, 45: tunnel.CodeCertificateExpired,
	48: tunnel.CodeUnknownAuthority, 49: tunnel.CodeCertificateRefused, 116: tunnel.CodeCertificateMissing,
}

func TestFromAlert(t *testing.T) {
	t.Parallel()
	for a := range 256 {
		alert := tls.AlertError(a)
		want, ours := certificateAlerts[alert]
		e := tunnel.FromAlert(alert)
		if (e != nil) != ours || (ours && (e.Code != want || !e.Remote || !errors.Is(e, alert))) {
			t.Errorf("alert %d: %v, want %s", a, e, want)
		}
	}
}

func TestFromTLS(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	own := tunnel.Errorf(tunnel.CodeKicked, "by an operator")
	for name, tc := range map[string]struct {
		err  error
		want tunnel.Code
	}{
		"nil":                   {nil, tunnel.CodeOK},
		"numbered":              {fmt.Errorf("wrapped: %w", own), tunnel.CodeKicked},
		"other":                 {other, tunnel.CodeInternal},
		"other alert":           {&net.OpError{Op: "remote error", Err: tls.AlertError(80)}, tunnel.CodeInternal},
		"own alert":             {&net.OpError{Op: "local error", Err: tls.AlertError(44)}, tunnel.CodeInternal},
		"expired":               {x509.CertificateInvalidError{Reason: x509.Expired}, tunnel.CodeCertificateExpired},
		"invalid otherwise":     {x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, tunnel.CodeInternal},
		"unknown authority":     {x509.UnknownAuthorityError{}, tunnel.CodeUnknownAuthority},
		"another name":          {x509.HostnameError{Certificate: new(x509.Certificate), Host: "relay.comtrexx.test"}, tunnel.CodeRelayUntrusted},
		"another identity":      {fmt.Errorf("wrapped: %w", identity.ErrUnexpected), tunnel.CodeRelayUntrusted},
		"malformed identity":    {identity.ErrMalformed, tunnel.CodeCertificateRefused},
		"contradicting":         {identity.ErrMismatch, tunnel.CodeCertificateRefused},
		"unverified":            {identity.ErrUnverified, tunnel.CodeCertificateRefused},
		"certificate of nobody": {&net.OpError{Op: "remote error", Err: tls.AlertError(116)}, tunnel.CodeCertificateMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tunnel.FromTLS(tc.err)
			if c := tunnel.CodeOf(got); c != tc.want {
				t.Errorf("%v, want %s", got, tc.want)
			}
			cause := tc.err
			if op, ok := errors.AsType[*net.OpError](cause); ok {
				cause = op.Err // crypto/tls adds nothing to an alert
			}
			if cause != nil && !errors.Is(got, cause) {
				t.Errorf("%v has lost its cause", got)
			}
		})
	}
}

// What somebody says who has not shown who he is, is no verdict.
func TestBeforeProof(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	for name, tc := range map[string]struct {
		err  error
		want tunnel.Code
	}{
		"nil":                         {nil, tunnel.CodeOK},
		"other":                       {other, tunnel.CodeInternal},
		"an alert":                    {tunnel.FromAlert(44), tunnel.CodeInternal},
		"the end of a connection":     {fmt.Errorf("wrapped: %w", &tunnel.Error{Code: tunnel.CodeBlocked, Remote: true}), tunnel.CodeInternal},
		"full":                        {&tunnel.Error{Code: tunnel.CodeTryLater, Remote: true}, tunnel.CodeTryLater},
		"own verdict":                 {tunnel.FromTLS(identity.ErrUnexpected), tunnel.CodeRelayUntrusted},
		"own verdict on its identity": {tunnel.FromTLS(identity.ErrMalformed), tunnel.CodeRelayUntrusted},
		"own clock":                   {tunnel.FromTLS(x509.CertificateInvalidError{Reason: x509.Expired}), tunnel.CodeCertificateExpired},
	} {
		got := tunnel.BeforeProof(tc.err)
		if c := tunnel.CodeOf(got); c != tc.want {
			t.Errorf("%s: %v, want %s", name, got, tc.want)
		}
		if tc.want == tunnel.CodeInternal && errors.Is(got, &tunnel.Error{Code: tunnel.CodeBlocked}) {
			t.Errorf("%s: %v is still a verdict", name, got)
		}
	}
}

// The texts by which FromTLS knows an alert are those of crypto/tls.
func TestFromTLSRealAlert(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(nil)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert}
	srv.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil)
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "example.com"}}
	conn, err := d.DialContext(limit(t, patience), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err) // in TLS 1.3 the client is done before it is refused
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	if e, ok := errors.AsType[*tunnel.Error](tunnel.FromTLS(err)); !ok || e.Code != tunnel.CodeCertificateMissing || !e.Remote {
		t.Errorf("error %v, want the peer's %s", err, tunnel.CodeCertificateMissing)
	}
}
