package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Invitation is somebody who may make an account for himself.
type Invitation struct {
	ID        string         `json:"id"`
	Email     string         `json:"email"`
	Name      string         `json:"name"`
	Language  store.Language `json:"language" enum:"de,en,fr"`
	Roles     []RoleGrant    `json:"roles" nullable:"false"`
	InvitedBy Actor          `json:"invited_by"`
	CreatedAt time.Time      `json:"created_at"`
	ExpiresAt time.Time      `json:"expires_at"`
	Expired   bool           `json:"expired"`
	Mail      string         `json:"mail" enum:"none,queued,sent,failed" doc:"How far the mail is; none: there is none, and whoever invited was shown the link"`
	Failure   string         `json:"failure,omitempty" doc:"Why the mail was not sent, or not yet: the answer's code, such as 550 5.1.1, or a word such as unreachable"`
	Link      string         `json:"link,omitempty" doc:"Where it is taken up; shown once, where there is no mail. Secret"`
}

// InvitationList is all invitations of the tenant, the newest first.
type InvitationList struct {
	Items []Invitation `json:"items" nullable:"false"`
}

// Invitee is somebody who is to be invited.
type Invitee struct {
	Email    string         `json:"email" minLength:"3" maxLength:"254"`
	Name     string         `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Language store.Language `json:"language" enum:"de,en,fr" doc:"Of the mail"`
}

// NewInvitation invites somebody into the tenant.
type NewInvitation struct {
	Invitee
	Roles []RoleGrant `json:"roles" nullable:"false" maxItems:"200" doc:"None of which the person who gives them does not have; may be empty"`
}

// NewInvitedTenant makes a tenant whose first owner is invited.
type NewInvitedTenant struct {
	Kind      store.Kind `json:"kind" enum:"reseller,customer" doc:"Operators make both, resellers make customers"`
	Name      string     `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	LegalName string     `json:"legal_name,omitempty" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text" doc:"Default: the name"`
	Owner     Invitee    `json:"owner"`
}

// InvitedTenant is a tenant whose first owner was invited.
type InvitedTenant struct {
	Tenant     Tenant     `json:"tenant"`
	Invitation Invitation `json:"invitation"`
}

// LinkSecret is what is after # in the address of a link.
type LinkSecret struct {
	Secret string `json:"secret" minLength:"1" maxLength:"128" doc:"What is after # in the address of the link. Secret"`
}

// OpenInvitation is what who was invited has to know.
type OpenInvitation struct {
	Tenant       string           `json:"tenant" doc:"Name of who has invited"`
	Email        string           `json:"email"`
	Name         string           `json:"name"`
	Language     store.Language   `json:"language" enum:"de,en,fr"`
	ExpiresAt    time.Time        `json:"expires_at"`
	SecondFactor bool             `json:"second_factor" doc:"Whether a second factor has to be set up"`
	Providers    []SignInProvider `json:"providers" nullable:"false" doc:"Where to sign in in place of a password"`
}

// Acceptance takes up an invitation.
type Acceptance struct {
	LinkSecret
	Name     string         `json:"name" minLength:"1" maxLength:"100" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Language store.Language `json:"language" enum:"de,en,fr"`
	Password string         `json:"password" minLength:"12" maxLength:"128"`
}

// InvitationPath is the invitation in an address.
type InvitationPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the invitation"`
}

// registerInvitations is the table of the operations about invitations.
func (a *API) registerInvitations() {
	const list, one, open = "/invitations", "/invitations/{id}", "/invitation"
	add(a, operation{
		id: "listInvitations", method: http.MethodGet, path: list, tag: tagAccess, rule: inTenant(access.UsersRead),
		summary: "Who is invited and has not come yet",
	}, a.listInvitations)
	add(a, operation{
		id: "createInvitation", method: http.MethodPost, path: list, tag: tagAccess, rule: inTenant(access.UsersManage), status: http.StatusCreated,
		summary: "Invite somebody", description: "Nobody gives a role that he does not have. The answer is the same where the address has an account with another tenant.",
		codes: []Code{CodeConflict, CodeNotToGive, CodeSentLately, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createInvitation)
	add(a, operation{
		id: "resendInvitation", method: http.MethodPost, path: one + "/mail", tag: tagAccess, rule: inTenant(access.UsersManage),
		summary: "Send an invitation again", description: "With a new link; the one before is void. Not again before account.invitation_again is over.",
		codes: []Code{CodeConflict, CodeNotToGive, CodeSentLately},
	}, a.resendInvitation)
	add(a, operation{
		id: "withdrawInvitation", method: http.MethodDelete, path: one, tag: tagAccess, rule: inTenant(access.UsersManage), status: http.StatusNoContent,
		summary: "Withdraw an invitation", codes: []Code{CodeNotToGive},
	}, a.withdrawInvitation)
	add(a, operation{
		id: "createInvitedTenant", method: http.MethodPost, path: "/invited-tenants", tag: tagAccess, rule: inTenant(access.TenantCreate), status: http.StatusCreated,
		summary:     "Make a tenant below the own one, and invite its first owner",
		description: "Being above it gives no access to it: its owner grants that.",
		codes:       []Code{CodeConflict, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createInvitedTenant)
	add(a, operation{
		id: "resendOwnerInvitation", method: http.MethodPost, path: "/invited-tenants/{id}/mail", tag: tagAccess, rule: inTenant(access.TenantCreate),
		summary:     "Send the invitation of the first owner of a tenant below again",
		description: "With a new link; the one before is void. Not again before account.invitation_again is over, and not once there is an owner.",
		codes:       []Code{CodeConflict, CodeSentLately},
	}, a.resendOwnerInvitation)
	add(a, operation{
		id: "showInvitation", method: http.MethodPost, path: open, tag: tagSession, rule: public,
		summary: "What an invitation is about", codes: []Code{CodeLink},
	}, a.showInvitation)
	add(a, operation{
		id: "acceptInvitation", method: http.MethodPost, path: open + "/acceptance", tag: tagSession, rule: public,
		summary: "Take up an invitation", description: "Makes the account and sets the session's cookie. Works once.",
		codes: []Code{CodeLink, CodeUnauthenticated, CodeLoginLimited},
	}, a.acceptInvitation)
}

func invitationOf(i store.Invitation, mails map[store.MailID]store.Mail, names map[store.UserID]string) Invitation {
	out := Invitation{
		ID: string(i.ID), Email: i.Email, Name: i.Name, Language: i.Language, Roles: []RoleGrant{},
		InvitedBy: Actor{ID: string(i.By), Name: names[i.By]}, CreatedAt: i.Created, ExpiresAt: i.Expires,
		Expired: !time.Now().Before(i.Expires), Mail: "none",
	}
	for _, g := range i.Roles {
		out.Roles = append(out.Roles, RoleGrant{g.Role, string(g.Site), string(g.System)})
	}
	if m, sent := mails[i.Mail]; sent {
		out.Mail, out.Failure = string(m.State), m.Failure
	}
	return out
}

func (a *API) listInvitations(ctx context.Context, _ *nothing) (*body[InvitationList], error) {
	who := mustActor(ctx)
	out := &body[InvitationList]{Body: InvitationList{Items: []Invitation{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Invitations(who.tenant.ID)
		if err != nil {
			return err
		}
		var ids []store.MailID
		var by []store.UserID
		for _, i := range all {
			by = append(by, i.By)
			if i.Mail != "" {
				ids = append(ids, i.Mail)
			}
		}
		mails, err := tx.Mails(ids)
		if err != nil {
			return err
		}
		names, err := tx.UserNames(by)
		for _, i := range all {
			out.Body.Items = append(out.Body.Items, invitationOf(i, mails, names))
		}
		return err
	})
	return out, err
}

// invited is the answer with an invitation that was just made or sent again.
func invited(i account.Invited, by store.User) Invitation {
	out := invitationOf(i.Invitation, nil, map[store.UserID]string{i.By: by.Name})
	if out.Link = i.Link; i.Link == "" {
		out.Mail = string(store.MailQueued)
	}
	return out
}

// inviteProblem makes problems of what ccc/account refuses about an address.
func inviteProblem(err error, at string) error {
	if lately, ok := errors.AsType[*account.SentLatelyError](err); ok {
		return problem(CodeSentLately, "again from "+lately.Again.UTC().Format(time.RFC3339)).after(time.Until(lately.Again))
	}
	if invalid, ok := errors.AsType[*account.InvalidError](err); ok {
		return problem(CodeInvalid, "", FieldError{at + invalid.Field, FieldInvalid, invalid.Problem})
	}
	return err
}

type createInvitationInput struct {
	Idempotency
	Body NewInvitation
}

func (a *API) createInvitation(ctx context.Context, in *createInvitationInput) (*created[Invitation], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createInvitation", in.Body, func(ctx context.Context) (*created[Invitation], error) {
		var made account.Invited
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			who, err := who.fresh(tx)
			if err != nil {
				return err
			}
			if err := a.roomForInvited(tx, who.tenant.ID); err != nil {
				return err
			}
			grants := grantsOf("", in.Body.Roles)
			if err := checkRoles(tx, who.tenant.ID, grants); err != nil {
				return err
			}
			if err := who.mayGive(grants); err != nil {
				return err
			}
			made, err = a.cfg.Accounts.Invite(tx, account.NewInvitation{
				Tenant: who.tenant, By: who.user, Email: in.Body.Email, Name: in.Body.Name, Language: in.Body.Language, Roles: grants,
			})
			return err
		})
		if err != nil {
			return nil, inviteProblem(err, "body.")
		}
		return &created[Invitation]{Body: invited(made, who.user)}, nil
	})
}

// roomForInvited finds fault where a tenant has as many users and invitations as it may
// have users.
func (a *API) roomForInvited(tx *store.Tx, tenant store.TenantID) error {
	users, err := tx.CountUsers(tenant)
	if err != nil {
		return err
	}
	n, err := tx.CountInvitations(tenant)
	return full(users+n, a.cfg.Limits.Users, "users and invitations", err)
}

// mayHandle gives the actor where he might give all roles of an invitation: otherwise he
// could take up himself what he could not give.
func (a actor) mayHandle(tx *store.Tx, id store.InvitationID) (actor, error) {
	who, err := a.fresh(tx)
	if err != nil {
		return who, err
	}
	i, err := tx.Invitation(who.tenant.ID, id)
	if err != nil {
		return who, err
	}
	return who, who.mayGive(i.Roles)
}

func (a *API) resendInvitation(ctx context.Context, in *InvitationPath) (*body[Invitation], error) {
	who, id := mustActor(ctx), store.InvitationID(in.ID)
	var made account.Invited
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		who, err := who.mayHandle(tx, id)
		if err != nil {
			return err
		}
		made, err = a.cfg.Accounts.InviteAgain(tx, who.tenant, id, who.user)
		return err
	})
	if err != nil {
		return nil, inviteProblem(err, "")
	}
	return &body[Invitation]{Body: invited(made, who.user)}, nil
}

func (a *API) withdrawInvitation(ctx context.Context, in *InvitationPath) (*nothing, error) {
	who, id := mustActor(ctx), store.InvitationID(in.ID)
	return nil, a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		who, err := who.mayHandle(tx, id)
		if err != nil {
			return err
		}
		return a.cfg.Accounts.Uninvite(tx, who.tenant.ID, id)
	})
}

type createInvitedTenantInput struct {
	Idempotency
	Body NewInvitedTenant
}

func (a *API) createInvitedTenant(ctx context.Context, in *createInvitedTenantInput) (*created[InvitedTenant], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createInvitedTenant", in.Body, func(ctx context.Context) (*created[InvitedTenant], error) {
		t, err := newTenant(who, in.Body.Kind, in.Body.Name, cmp.Or(in.Body.LegalName, in.Body.Name))
		if err != nil {
			return nil, err
		}
		var made account.Invited
		err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			if err := a.roomForTenant(tx, t.Parent); err != nil {
				return err
			}
			if err := tx.CreateTenant(t); err != nil {
				return err
			}
			made, err = a.cfg.Accounts.Invite(tx, account.NewInvitation{
				Tenant: t, By: who.user, Email: in.Body.Owner.Email, Name: in.Body.Owner.Name, Language: in.Body.Owner.Language,
				Roles: []store.UserGrant{{Role: store.RoleOwner}}, Founding: true,
			})
			return err
		})
		if err != nil {
			return nil, inviteProblem(err, "body.owner.")
		}
		return &created[InvitedTenant]{Body: InvitedTenant{Tenant: tenantOf(t), Invitation: invited(made, who.user)}}, nil
	})
}

// InvitedTenantPath is a tenant below in an address.
type InvitedTenantPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the tenant"`
}

// resendOwnerInvitation is for the tenant that has made the other one: nobody is there who
// could send the invitation.
func (a *API) resendOwnerInvitation(ctx context.Context, in *InvitedTenantPath) (*body[Invitation], error) {
	who := mustActor(ctx)
	var made account.Invited
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		t, err := tx.Tenant(store.TenantID(in.ID))
		if err == nil && t.Parent != who.tenant.ID {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		i, err := tx.FoundingInvitation(t.ID)
		if err != nil {
			return err
		}
		n, err := tx.CountUsers(t.ID)
		if err == nil && n > 0 {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		made, err = a.cfg.Accounts.InviteAgain(tx, t, i.ID, who.user)
		return err
	})
	if err != nil {
		return nil, inviteProblem(err, "")
	}
	return &body[Invitation]{Body: invited(made, who.user)}, nil
}

// linkProblem makes problems of what ccc/account refuses about links.
func linkProblem(err error) error {
	if errors.Is(err, account.ErrLink) {
		return problem(CodeLink, "")
	}
	if invalid, ok := errors.AsType[*account.InvalidError](err); ok {
		fault := passwordFault(invalid)
		fault.Location = "body.password"
		return problem(CodeInvalid, "", fault)
	}
	return factorProblem(err)
}

func (a *API) showInvitation(ctx context.Context, in *body[LinkSecret]) (*body[OpenInvitation], error) {
	i, tenant, err := a.cfg.Accounts.Invitation(ctx, in.Body.Secret)
	if err != nil {
		return nil, linkProblem(err)
	}
	as := store.User{}
	for _, g := range i.Roles {
		as.Roles = append(as.Roles, g.Role)
	}
	return &body[OpenInvitation]{Body: OpenInvitation{
		Tenant: tenant.Name, Email: i.Email, Name: i.Name, Language: i.Language, ExpiresAt: i.Expires,
		SecondFactor: a.cfg.Accounts.MustHaveSecond(as), Providers: a.providers(tenant.ID),
	}}, nil
}

// stillInvited looks whether an invitation can be taken up, or, without an id, whether an
// account can be made: there is room, and who has invited could still give the roles.
func (a *API) stillInvited(tx *store.Tx, i store.Invitation) error {
	if err := a.roomForUser(tx, i.Tenant); err != nil {
		return err
	}
	if i.ID == "" {
		return nil
	}
	if i.Founding {
		n, err := tx.CountUsers(i.Tenant)
		if err == nil && n > 0 {
			err = account.ErrLink
		}
		return err
	}
	may, err := access.Load(tx, i.By, i.Tenant, time.Now())
	if err != nil {
		return err
	}
	by := actor{may: may, tenant: store.Tenant{ID: i.Tenant}}
	if by.mayGive(i.Roles) != nil || !may.May(access.UsersManage, access.Of(i.Tenant)) {
		return account.ErrLink
	}
	return nil
}

func (a *API) acceptInvitation(ctx context.Context, in *body[Acceptance]) (*cookieOutput[Me], error) {
	user, err := a.cfg.Accounts.Accept(ctx, account.Acceptance{
		Secret: in.Body.Secret, Name: in.Body.Name, Language: in.Body.Language, Password: in.Body.Password, Check: a.stillInvited,
	})
	if err != nil {
		return nil, linkProblem(err)
	}
	cookie, err := a.cfg.Accounts.Begin(ctx, user)
	if err != nil {
		return nil, factorProblem(err)
	}
	return a.signedInNow(ctx, cookie)
}
