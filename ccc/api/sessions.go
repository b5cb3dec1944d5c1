package api

import (
	"context"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
)

// SessionInfo is one of the person's sessions. It has no address and nothing of the
// browser, as none is kept.
type SessionInfo struct {
	ID         string        `json:"id"`
	BegunAt    time.Time     `json:"begun_at"`
	LastSeenAt time.Time     `json:"last_seen_at" doc:"To about a minute"`
	ExpiresAt  time.Time     `json:"expires_at" doc:"Where it is not used any more"`
	Proof      account.Proof `json:"proof" enum:"password,second"`
	Current    bool          `json:"current" doc:"The one that asks"`
}

// SessionList is all of the person's sessions, the one used last first.
type SessionList struct {
	Items []SessionInfo `json:"items" nullable:"false"`
}

// SessionPath is the session in an address.
type SessionPath struct {
	Session string `path:"session" maxLength:"64" doc:"Id of the session"`
}

// registerSessions is the table of the operations about sessions.
func (a *API) registerSessions() {
	const list = "/account/sessions"
	add(a, operation{
		id: "listSessions", method: http.MethodGet, path: list, tag: tagAccount, rule: signedIn,
		summary: "Where the person is signed in",
	}, a.listSessions)
	add(a, operation{
		id: "endSession", method: http.MethodDelete, path: list + "/{session}", tag: tagAccount, rule: signedIn, status: http.StatusNoContent,
		summary: "End a session",
	}, a.endSession)
	add(a, operation{
		id: "endOtherSessions", method: http.MethodDelete, path: list, tag: tagAccount, rule: signedIn, status: http.StatusNoContent,
		summary: "End all sessions but this one",
	}, a.endOtherSessions)
}

func (a *API) listSessions(ctx context.Context, _ *nothing) (*body[SessionList], error) {
	all, err := a.cfg.Accounts.Sessions(ctx)
	if err != nil {
		return nil, factorProblem(err)
	}
	out := &body[SessionList]{Body: SessionList{Items: make([]SessionInfo, len(all))}}
	for i, s := range all {
		out.Body.Items[i] = SessionInfo{
			ID: s.ID, BegunAt: s.Created, LastSeenAt: s.LastSeen, ExpiresAt: s.Expires, Proof: s.Proof, Current: s.Current,
		}
	}
	return out, nil
}

func (a *API) endSession(ctx context.Context, in *SessionPath) (*nothing, error) {
	return nil, factorProblem(a.cfg.Accounts.EndSession(ctx, in.Session))
}

func (a *API) endOtherSessions(ctx context.Context, _ *nothing) (*nothing, error) {
	_, err := a.cfg.Accounts.EndOthers(ctx)
	return nil, factorProblem(err)
}
