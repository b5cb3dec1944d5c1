package api

import (
	"context"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
)

// ResetRequest asks for a new password.
type ResetRequest struct {
	Email string `json:"email" minLength:"1" maxLength:"254"`
}

// ResetAccepted is the answer for each address.
type ResetAccepted struct {
	Accepted bool `json:"accepted" doc:"Always true. If an account has the address, a mail is on its way"`
}

// NewPassword is the password of who has a link.
type NewPassword struct {
	LinkSecret
	Password string `json:"password" minLength:"12" maxLength:"128"`
}

// registerResets is the table of the operations about forgotten passwords.
func (a *API) registerResets() {
	add(a, operation{
		id: "requestPasswordReset", method: http.MethodPost, path: "/password-resets", tag: tagSession, rule: public, status: http.StatusAccepted,
		summary:     "Ask for a link for a new password",
		description: "The answer is the same for each address, and also where the link was asked for too often and none is sent.",
	}, a.requestPasswordReset)
	add(a, operation{
		id: "resetPassword", method: http.MethodPost, path: "/password-resets/completion", tag: tagSession, rule: public, status: http.StatusNoContent,
		summary: "Set a new password by a link", description: "Ends all sessions of the person, who then signs in, with the second factor where there is one. Works once.",
		codes: []Code{CodeLink, CodeLoginLimited},
	}, a.resetPassword)
}

type resetInput struct {
	Remote
	Body ResetRequest
}

func (a *API) requestPasswordReset(ctx context.Context, in *resetInput) (*body[ResetAccepted], error) {
	err := a.cfg.Accounts.RequestReset(ctx, in.Body.Email, account.Prefix(in.addr))
	return &body[ResetAccepted]{Body: ResetAccepted{Accepted: true}}, err
}

func (a *API) resetPassword(ctx context.Context, in *body[NewPassword]) (*nothing, error) {
	return nil, linkProblem(a.cfg.Accounts.CompleteReset(ctx, in.Body.Secret, in.Body.Password))
}
