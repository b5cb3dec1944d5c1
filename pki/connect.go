package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// connectTimeout bounds the whole conversation.
const connectTimeout = 10 * time.Second

// handshake is what one TLS handshake showed.
type handshake struct {
	peer     []*x509.Certificate
	asked    bool     // the other end asked for a certificate
	accepts  [][]byte // issuers that it accepts, DER names; empty: it does not say
	date     time.Time
	protocol string
	err      error
}

// shake makes a TLS connection without trust in the other end, and one HTTP request
// over it: the other end judges our certificate after our handshake, and the answer
// has its clock.
func shake(ctx context.Context, address, name string, own *tls.Certificate) (h handshake) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return handshake{err: err}
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12,
		VerifyConnection: func(cs tls.ConnectionState) error {
			h.peer, h.protocol = cs.PeerCertificates, tls.VersionName(cs.Version)
			return nil
		},
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			h.asked, h.accepts = true, info.AcceptableCAs
			if own == nil {
				return &tls.Certificate{}, nil
			}
			return own, nil
		},
	})
	if h.err = conn.HandshakeContext(ctx); h.err != nil {
		return h
	}
	deadline, _ := ctx.Deadline()
	if h.err = conn.SetDeadline(deadline); h.err != nil {
		return h
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/healthz", http.NoBody)
	if err != nil {
		return h // an address that was dialled, and is none of a URL
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		h.err = alert(err)
		return h
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		h.err = alert(err) // the other end need not speak HTTP
		return h
	}
	defer resp.Body.Close()
	h.date, _ = http.ParseTime(resp.Header.Get("Date")) // without, the clock is not known
	return h
}

// alert keeps an error that the other end's TLS said.
func alert(err error) error {
	if strings.Contains(err.Error(), "remote error: tls:") {
		return err
	}
	return nil
}

// connection is what inspect tells about a handshake.
type connection struct {
	Address  string   `json:"address"`
	Name     string   `json:"name"` // asked for
	Protocol string   `json:"protocol,omitempty"`
	Asked    bool     `json:"client_certificate_asked"`
	Error    string   `json:"error,omitempty"`
	Reasons  []reason `json:"reasons,omitempty"`
	// Peer is what the other end showed, Own what this end has.
	Peer []found `json:"peer,omitempty"`
	Own  []found `json:"own,omitempty"`
}

// inspectConnection makes a handshake and explains it.
func (p *program) inspectConnection(cmd *cobra.Command, address, as string, with inspection) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return &cli.Hint{Err: err, Hint: "--connect HOST:PORT", ExitCode: cli.ExitUsage}
	}
	if with.name == "" {
		with.name = host
	}
	var own *tls.Certificate
	var ownText []byte
	if as != "" {
		creds, err := enrol.LoadCredentials(as)
		if err != nil {
			return err
		}
		cert := creds.Certificate()
		own = &cert
		if with.roots == nil {
			with.roots = creds.Roots()
		}
		ownText = encode(cert.Certificate)
	}
	h := shake(cmd.Context(), address, with.name, own)
	c := connection{Address: address, Name: with.name, Protocol: h.protocol, Asked: h.asked}
	with.peer = h.date
	if len(h.peer) > 0 {
		if c.Peer, err = inspect(enrol.EncodeCertificates(h.peer...), with); err != nil {
			return err
		}
	}
	if own != nil {
		ours := with
		ours.name, ours.peer = "", time.Time{} // the clock is said once
		if !h.date.IsZero() {
			ours.now = h.date
		}
		if c.Own, err = inspect(ownText, ours); err != nil {
			return err
		}
	}
	c.Reasons = h.explain(own, with.roots)
	if h.err != nil {
		c.Error = h.err.Error()
	}
	return p.Print(cmd, c, c.table())
}

func encode(chain [][]byte) []byte {
	var certs []*x509.Certificate
	for _, der := range chain {
		if c, err := x509.ParseCertificate(der); err == nil { // it was loaded before
			certs = append(certs, c)
		}
	}
	return enrol.EncodeCertificates(certs...)
}

// explain says what the handshake itself shows.
func (h handshake) explain(own *tls.Certificate, roots []*x509.Certificate) (all []reason) {
	if h.err != nil {
		if r, ok := explainError(h.err.Error()); ok {
			all = append(all, r)
		}
	}
	if own != nil && !h.asked && h.err == nil {
		all = append(all, reason{"the other end did not ask for a certificate, so it does not know who we are", "another port of it may: the public listener asks, ACME does not"})
	}
	if own != nil && len(h.accepts) > 0 && !slices.ContainsFunc(h.accepts, func(name []byte) bool { return leadsTo(own, roots, name) }) {
		all = append(all, reason{"the other end accepts certificates of other issuers only", "our certificate is of another PKI, or the port is for factory certificates"})
	}
	return all
}

// leadsTo tells whether our chain has an issuer of that name. Names are all that the
// other end says.
func leadsTo(own *tls.Certificate, roots []*x509.Certificate, name []byte) bool {
	for _, der := range own.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil && bytes.Equal(c.RawIssuer, name) {
			return true
		}
	}
	return slices.ContainsFunc(roots, func(r *x509.Certificate) bool { return bytes.Equal(r.RawSubject, name) })
}

func (c connection) table() *cli.Table {
	t := &cli.Table{}
	t.Add("connection", c.Address+" as "+c.Name)
	if c.Protocol != "" {
		t.Add("protocol", c.Protocol)
	}
	if c.Error != "" {
		t.Add("error", c.Error)
	}
	addReasons(t, c.Reasons)
	if c.Error == "" && len(c.Reasons)+reasonsOf(c.Peer)+reasonsOf(c.Own) == 0 {
		t.Add("result", "the handshake works, and both ends can trust what they see")
	}
	for _, part := range []struct {
		title string
		all   []found
	}{{"the other end", c.Peer}, {"this end", c.Own}} {
		for i, f := range part.all {
			t.Add("")
			t.Add(fmt.Sprintf("%s, %d of %d", part.title, i+1, len(part.all)))
			addFound(t, f)
		}
	}
	return t
}

func reasonsOf(all []found) (n int) {
	for _, f := range all {
		n += len(f.Reasons)
	}
	return n
}
