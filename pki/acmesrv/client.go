package acmesrv

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// prover fetches the proofs of names. It goes where [Config.Dial] says, through no
// proxy, follows no redirect, and reads no more than a proof needs: the names come
// from clients, and what they point to may be anything.
type prover struct {
	dial    map[string]string
	timeout time.Duration
	lookup  func(string) ([]string, error) // nil: none
	http    *http.Client
}

// maxProof bounds the answer to http-01, which has less than 200 bytes.
const maxProof = 4 << 10

func newProver(cfg Config) *prover {
	p := &prover{dial: cfg.Dial, timeout: cfg.ChallengeTimeout, lookup: cfg.LookupTXT}
	p.http = &http.Client{
		Timeout:       p.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DialContext: p.dialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: maxProof},
	}
	return p
}

func (p *prover) dialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if to, ok := p.dial[addr]; ok {
		addr = to
	} else if _, above, ok := strings.Cut(addr, "."); ok && p.dial["*."+above] != "" {
		addr = p.dial["*."+above]
	}
	return (&net.Dialer{Timeout: p.timeout}).DialContext(ctx, network, addr)
}

// Get is for http-01.
func (p *prover) Get(url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = bounded{io.LimitReader(resp.Body, maxProof), resp.Body}
	return resp, nil
}

type bounded struct {
	io.Reader
	io.Closer
}

// LookupTxt is for dns-01, which is not offered without [Config.LookupTXT].
func (p *prover) LookupTxt(name string) ([]string, error) {
	if p.lookup == nil {
		return nil, errors.New("dns-01 is not offered")
	}
	return p.lookup(name)
}

// TLSDial is for tls-alpn-01.
func (p *prover) TLSDial(network, addr string, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	raw, err := p.dialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error says more
		return nil, err
	}
	return conn, nil
}
