package pbx

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/tlsend"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// maxProofs is how many certificate authorities ask at once.
const maxProofs = 8

// openTLS makes the TLS that ends here, where there is to be one.
func (p *PBX) openTLS() (err error) {
	c := p.cfg.TLSEnd
	if !c.Enabled() {
		return nil
	}
	if c.Storage == "" && p.cfg.Dir != "" {
		c.Storage = filepath.Join(p.cfg.Dir, "tls")
	}
	c.Serial, c.Roots, c.Logger = p.Serial(), p.cfg.Credentials.Pool, p.log.Named("tls")
	p.tls, err = tlsend.New(c)
	return err
}

// runTLS gets the certificate as soon as a tunnel is up, through which the CA has to come.
func (p *PBX) runTLS(ctx context.Context) error {
	select {
	case <-p.tunnelUp:
	case <-ctx.Done():
		return nil
	}
	return p.tls.Run(ctx)
}

// tlsListener takes the calls of the service "tls": those of sessions, whose pages it has
// served, and those of certificate authorities, to which it answers itself.
type tlsListener struct {
	net.Listener
	pbx    *PBX
	ctx    context.Context // of Run
	proofs chan struct{}   // one place for each
	work   *sync.WaitGroup
}

func (p *PBX) tlsListener(ctx context.Context, ln net.Listener, work *sync.WaitGroup) net.Listener {
	return tlsListener{ln, p, ctx, make(chan struct{}, maxProofs), work}
}

// Accept implements [net.Listener].
func (l tlsListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		call, ok := c.(*agent.Conn)
		if !ok {
			_ = c.Close()
			continue
		}
		if call.Call().Purpose == ara.PurposeChallenge && call.Call().Verified && call.Caller() == l.pbx.araID() {
			l.prove(call)
			continue
		}
		if a := l.pbx.admit(call, grant.TLS); a != nil {
			return l.pbx.tls.Conn(a), nil
		}
	}
}

func (l tlsListener) prove(call *agent.Conn) {
	select {
	case l.proofs <- struct{}{}:
	default:
		call.Reset(tunnel.CodeTooManyStreams)
		return
	}
	l.work.Go(func() {
		defer func() { <-l.proofs }()
		if err := l.pbx.tls.Prove(l.ctx, call); err != nil && !errors.Is(err, context.Canceled) {
			l.pbx.log.Debug("a proof of the system's name", "error", err)
		}
	})
}

// ownName refuses requests over TLS that are for another host than the one whose
// certificate was shown.
func (p *PBX) ownName(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			h.ServeHTTP(w, r)
			return
		}
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !strings.EqualFold(host, p.tls.Name()) {
			http.Error(w, "This is another system.", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		h.ServeHTTP(w, r)
	})
}

// under gives what TLS is on.
func under(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
