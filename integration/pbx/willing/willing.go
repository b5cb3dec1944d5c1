// Package willing is the part of a PBX that consents to remote access, in a PBX that lets
// everybody in: for measurements, and for pages of others behind the gateway. What a real
// one does about consent is in package integration/pbx/remote.
//
//	a, err := agent.New(agent.Config{Services: []agent.Service{{Name: "web", Target: target}, {Name: remote.ServiceName}}, …})
//	ln, err := a.Listen(remote.ServiceName)
//	go willing.Server().Serve(ln)
package willing

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Server serves [remote.ServiceName]: every session is active for a day, anew as often as
// it is asked for.
func Server() *http.Server {
	return &http.Server{
		Handler: remote.Handler(sessions{}, sessionOf), ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
}

type connKey struct{}

// sessionOf gives the session that a request of the gateway is for.
func sessionOf(r *http.Request) (grant.SessionID, bool) {
	c, ok := r.Context().Value(connKey{}).(*agent.Conn)
	if !ok {
		return "", false
	}
	return grant.ParsePurpose(c.Call().Purpose)
}

type sessions struct{}

var errNever = errors.New("not in this PBX")

func (sessions) Watch(ctx context.Context, _ grant.SessionID) (iter.Seq[remote.Status], error) {
	return func(yield func(remote.Status) bool) {
		tick := time.NewTicker(remote.Heartbeat)
		defer tick.Stop()
		for yield(remote.Status{State: grant.Active, Remaining: remote.MaxMinutes * 60}) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

func (sessions) PIN(context.Context, grant.SessionID, string) error { return errNever }
func (sessions) End(context.Context, grant.SessionID) error         { return nil }
func (sessions) Extend(context.Context, grant.SessionID, int) error { return errNever }

func (sessions) Targets(context.Context, grant.SessionID) ([]remote.Target, error) { return nil, nil }
