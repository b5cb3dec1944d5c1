package pairing

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// peerKey is where [ConnContext] puts the identity of the other side.
type peerKey struct{}

// ConnContext gives the requests of a connection the identity of its other side. It is
// for http.Server.ConnContext, on a listener whose connections have a Peer method that
// gives a verified identity, as those of dial.Dialer.Listen do. On any other, nobody is
// let in.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(interface{ Peer() identity.ID }); ok {
		return context.WithValue(ctx, peerKey{}, p.Peer())
	}
	return ctx
}

// Handler serves what PBXs call; see package wire. Its server needs [ConnContext].
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	maxBody := int64(s.cfg.MaxBody)
	mux.Handle("POST "+wire.PathComplete, wire.Handle(maxBody, s.complete))
	mux.Handle("POST "+wire.PathDeclined, wire.Handle(maxBody, s.declined))
	mux.Handle("POST "+wire.PathSync, wire.Handle(maxBody, s.sync))
	mux.Handle("POST "+wire.PathRemoteReport, wire.Handle(maxBody, s.remoteReport))
	return mux
}

// Serve serves [Service.Handler] on the listener, which is dial.Dialer.Listen with
// [wire.Service], until ctx ends; it returns ctx's cause. Running requests may finish
// within Limits.CallTimeout.
func (s *Service) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s.Handler(),
		ConnContext:       ConnContext,
		ReadHeaderTimeout: s.cfg.CallTimeout,
		ReadTimeout:       s.cfg.CallTimeout,
		WriteTimeout:      2 * s.cfg.CallTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
	defer cancel()
	if srv.Shutdown(finish) != nil {
		_ = srv.Close() // the rest is cut
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return context.Cause(ctx)
}
