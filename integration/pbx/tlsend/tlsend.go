// Package tlsend is TLS that ends in the PBX, in sessions of remote access that are
// encrypted end to end: the gateway carries ciphertext, and nobody but the PBX has the key.
//
//	e, err := tlsend.New(tlsend.Config{Domain: "pbx.example.net", Directory: …})
//	go e.Run(ctx)                          // once the tunnel is up: gets the certificate
//	srv.Serve(tlsListener)                 // of e.Conn(call)
//	e.Prove(ctx, call)                     // a certificate authority asks
//
// The PBX's name is "s<serial>.<domain>". Its certificate comes from a CA by ACME (RFC
// 8555), through package pki/servercert: the CA proves the name with tls-alpn-01 (RFC 8737)
// over a call of the gateway, which leads connections by name. It is renewed at half of its
// life, and while the CA is away the stored one is used.
//
// Who sees to it that nobody else gets a certificate for the name is the CA. The cloud's
// own PKI gives it to an account that the PBX has opened with its device certificate, and
// to no other. A public CA would also give it to a gateway that answers the proof itself;
// a CAA record with the PBX's account (RFC 8657) forbids that, and the logs of certificate
// transparency show it.
package tlsend

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// Config of an [End]. Domain and what its mode needs have to be set.
type Config struct {
	// Domain is what PBXs are one label below, as at the gateway. Empty: there is no such
	// TLS.
	Domain string `yaml:"domain"`
	// Mode is internal, for the cloud's own PKI, or public. Default: internal.
	Mode servercert.Mode `yaml:"mode"`
	// Directory is the address of the CA's ACME directory. Internal: needed. Public:
	// default Let's Encrypt.
	Directory string `yaml:"directory"`
	// EABFile holds the key with which the account is opened, as in
	// [servercert.Config]. Default: with mode internal, Key is asked.
	EABFile configs.SecretFile `yaml:"eab_file"`
	// Email is where a public CA sends its warnings; needed with one.
	Email string `yaml:"email"`

	// Storage is the directory that keeps account, key and certificate. Needed.
	Storage string `yaml:"-"`
	// Serial is the PBX's. Needed.
	Serial identity.Serial `yaml:"-"`
	// Roots gives the roots that the cloud's own CA is known by. Needed with it.
	Roots func() *x509.CertPool `yaml:"-"`
	// Key gives the key with which the account is opened; see [servercert.Config].EAB.
	Key func(ctx context.Context) (keyID, hmacKey string, err error) `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
}

// Enabled tells whether there is such TLS.
func (c Config) Enabled() bool { return c.Domain != "" }

// Name is that of a PBX.
func (c Config) name(serial identity.Serial) string { return grant.PBXName(serial, c.Domain) }

func (c Config) names() servercert.Config {
	n := servercert.Config{
		Mode: cmp.Or(c.Mode, servercert.ModeInternal), Domains: []string{c.name(c.Serial)}, Directory: c.Directory, EABFile: c.EABFile,
		Email: c.Email, Storage: c.Storage, Tunnelled: true, Roots: c.Roots, Logger: c.Logger,
	}
	if n.Mode == servercert.ModeInternal {
		n.EAB = c.Key
	}
	return n
}

// Validate checks what a file can set, each error a [configs.KeyError].
func (c Config) Validate() error {
	if !c.Enabled() {
		return nil
	}
	if c.Mode == servercert.ModeFiles {
		return &configs.KeyError{Key: "mode", Problem: "is files", Hint: "internal or public: the key never leaves the PBX"}
	}
	if _, err := identity.ParseTrustDomain(c.Domain); err != nil { // which is a lower-case DNS name
		return &configs.KeyError{Key: "domain", Problem: err.Error(), Hint: "as in pbx.example.net"}
	}
	c.Serial, c.Storage = "0000000000", "."
	return c.names().Validate()
}

// End is the TLS of one PBX. Its methods may be called by several goroutines.
type End struct {
	name  string
	names *servercert.Server
	pages *tls.Config
}

// New loads what is stored; it dials nobody.
func New(cfg Config) (*End, error) {
	if !cfg.Enabled() || cfg.Storage == "" {
		return nil, errors.New("tlsend: no domain or no storage")
	}
	if _, err := identity.ParseSerial(string(cfg.Serial)); err != nil {
		return nil, fmt.Errorf("tlsend: %w", err)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	names, err := servercert.New(cfg.names())
	if err != nil {
		return nil, err
	}
	return &End{
		name: cfg.name(cfg.Serial), names: names,
		pages: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: names.GetCertificate},
	}, nil
}

// Run gets and renews the certificate until ctx ends. Call it once, and when the gateway
// can reach the PBX: after a failure the next try is a minute later.
func (e *End) Run(ctx context.Context) error { return e.names.Run(ctx) }

// Name is what the PBX is called.
func (e *End) Name() string { return e.name }

// Ready tells whether there is a certificate.
func (e *End) Ready() bool { return e.names.Remaining() > 0 }

// Conn is the TLS on a connection on which pages are served. The handshake is done with the
// first read.
func (e *End) Conn(c net.Conn) *tls.Conn { return tls.Server(c, e.pages) }

// proofTime bounds the handshake of a CA.
const proofTime = 15 * time.Second

// alert is a fatal unrecognized_name in a record of TLS (RFC 8446 §6). The gateway answers
// so for a PBX that it does not reach (package ara/passthrough).
var alert = []byte{21, 3, 3, 0, 2, 2, 112}

// Prove answers a certificate authority, and closes the connection: nothing is served on
// it. Without a proof to give it fails, and whoever asks sees what he would see if there
// were no such PBX.
func (e *End) Prove(ctx context.Context, c net.Conn) error {
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	quiet := &muted{Conn: c}
	err := tls.Server(quiet, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			cfg := e.names.Challenge(hello)
			if cfg == nil {
				return nil, errors.New("no proof is asked for")
			}
			if _, err := cfg.GetCertificate(hello); err != nil {
				return nil, fmt.Errorf("there is no order: %w", err)
			}
			quiet.speaks = true
			return cfg, nil
		},
	}).HandshakeContext(ctx)
	if err != nil && !quiet.speaks {
		_, _ = c.Write(alert) // the other end may have gone
	}
	return err
}

// muted is a connection on which nothing is said until there is a proof to give.
type muted struct {
	net.Conn
	speaks bool // owned by the handshake
}

func (m *muted) Write(p []byte) (int, error) {
	if !m.speaks {
		return len(p), nil
	}
	return m.Conn.Write(p)
}
