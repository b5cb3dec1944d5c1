package servercert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ErrNoCertificate: there is no certificate for the name, not at all or not yet.
var ErrNoCertificate = errors.New("no certificate for this name")

// challengeProtocol is the ALPN protocol of tls-alpn-01 (RFC 8737 §6.2).
const challengeProtocol = "acme-tls/1"

// source is where a mode has its certificates.
type source interface {
	// certificate gives the certificate for a connection. An error wraps
	// [ErrNoCertificate].
	certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// current gives the certificate for a name; nil where there is none.
	current(name string) *tls.Certificate
	// names are those that there are or will be certificates for.
	names() []string
	// run keeps the certificates fresh until ctx ends.
	run(ctx context.Context) error
}

// Server has the certificates of a server's names. Make it with [New] and call Run
// once. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	source    source
	challenge *tls.Config // nil without a CA
	running   atomic.Bool
}

// New checks the configuration and loads what is stored; it dials nobody.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.checkRuntime(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	cfg.Domains = slices.Clone(cfg.Domains)
	s := &Server{cfg: cfg}
	var err error
	if cfg.acme() {
		s.source, err = newACME(cfg)
		s.challenge = &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{challengeProtocol},
			GetCertificate: s.source.certificate, SessionTicketsDisabled: true,
		}
	} else {
		s.source, err = newFiles(cfg)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Gauge != nil {
		err = cfg.Gauge("server_names_remaining_seconds", "Time until the first certificate of the server's names expires; 0 while a name has none.",
			func() float64 { return s.Remaining().Seconds() })
	}
	return s, err
}

// Run gets and renews certificates until ctx ends. In the modes with a CA the
// listener at [Config.Listen] must be open before, and use [Server.Challenge] or
// [Server.TLSConfig]. Whatever happens to the CA is logged and tried again.
//
// An order that is running when ctx ends is given up. Nothing is written any more
// when Run returns.
func (s *Server) Run(ctx context.Context) error {
	if s.running.Swap(true) {
		return errors.New("servercert: Run was called twice")
	}
	return s.source.run(ctx)
}

// GetCertificate is for tls.Config. The error wraps [ErrNoCertificate].
func (s *Server) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.source.certificate(hello)
}

// Certificate gives the certificate for the name that a client asks for by SNI; nil
// where the name is none of these or has no certificate yet.
func (s *Server) Certificate(hello *tls.ClientHelloInfo) *tls.Certificate {
	if hello.ServerName == "" {
		return nil
	}
	cert, err := s.source.certificate(hello)
	if err != nil {
		return nil
	}
	return cert
}

// Challenge gives the configuration for a connection on which a CA wants a name to
// be proven; nil for all other connections. Such a connection carries nothing: close
// it after the handshake.
func (s *Server) Challenge(hello *tls.ClientHelloInfo) *tls.Config {
	if s.challenge != nil && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProtocol {
		return s.challenge
	}
	return nil
}

// TLSConfig is the configuration of a server that has no other names: TLS 1.2 or
// newer, no client certificates, the application protocols, and proofs for the CA.
// Fields may be changed before its first use, but not GetConfigForClient.
func (s *Server) TLSConfig(protos ...string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         protos,
		GetCertificate:     s.GetCertificate,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return s.Challenge(hello), nil },
	}
}

// Remaining is the time until the first certificate expires: 0 while a name has
// none, below zero where one has expired.
func (s *Server) Remaining() time.Duration {
	var first time.Time
	for _, name := range s.source.names() {
		cert := s.source.current(name)
		if cert == nil {
			return 0
		}
		if first.IsZero() || cert.Leaf.NotAfter.Before(first) {
			first = cert.Leaf.NotAfter
		}
	}
	return time.Until(first)
}

// nameOf is the name that a client asks for, or the address that it has connected
// to where it names none.
func nameOf(hello *tls.ClientHelloInfo) string {
	if hello.ServerName != "" || hello.Conn == nil {
		return strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	}
	host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
	if err != nil {
		return ""
	}
	return host
}

func noCertificate(name string) error { return fmt.Errorf("%w: %q", ErrNoCertificate, name) }
