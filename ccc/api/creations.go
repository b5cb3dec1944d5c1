package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

const (
	// parallelCreations is how many accounts are made at once here. Invitations and resets
	// have their passwords hashed in the same slots.
	parallelCreations = 2
	// takenTries is how many addresses that are taken somebody may come upon in takenWindow:
	// whether one has an account is not to be found out by trying.
	takenTries  = 10
	takenWindow = time.Hour
	// takenKind is what these tries are counted as.
	takenKind = "address-taken"
)

// newAccount is somebody who is to get an account.
type newAccount struct {
	NewPerson
	at     string // of its fields in the request
	tenant store.TenantID
	roles  []store.Role // in all of the tenant
	// check finds fault before a password is hashed.
	check func(*store.Tx) error
	// add puts him into the store, with all that belongs to him.
	add func(*store.Tx, store.User) error
}

// person makes an account.
func (a *API) person(ctx context.Context, who actor, p newAccount) (store.User, error) {
	waiting, cancel := context.WithTimeout(ctx, a.cfg.Limits.AnswerTimeout/2)
	defer cancel()
	if err := a.creations.Acquire(waiting, 1); err != nil {
		return store.User{}, problem(CodeUnavailable, "too many accounts are being made")
	}
	defer a.creations.Release(1)
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if err := p.check(tx); err != nil {
			return err
		}
		n, last, err := tx.CountAttempts(takenKind, string(who.user.ID), time.Now().Add(-takenWindow))
		if err == nil && n >= takenTries {
			err = problem(CodeRateLimited, "too many of the addresses had an account").after(time.Until(last.Add(takenWindow)))
		}
		return err
	})
	if err != nil {
		return store.User{}, err
	}
	u, err := a.cfg.Accounts.Create(ctx, account.NewUser{
		Tenant: p.tenant, Email: p.Email, Name: p.Name, Language: p.Language, Password: p.Password, Roles: p.roles, Add: p.add,
	})
	if invalid, ok := errors.AsType[*account.InvalidError](err); ok {
		fault := passwordFault(invalid)
		fault.Location = p.at + "password"
		if fault.Code == FieldInvalid {
			fault.Location = p.at + "email"
		}
		return u, problem(CodeInvalid, "", fault)
	}
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok && conflict.What == "email" {
		a.log.Warn("somebody makes an account for an address that has one", "actor", who.user.ID, "tenant", who.tenant.ID)
		noted := a.cfg.Store.Update(store.Aside(ctx), func(tx *store.Tx) error { return tx.AddAttempt(takenKind, string(who.user.ID), time.Now()) })
		if noted != nil {
			return u, noted // nothing is told that is not counted
		}
	}
	return u, err
}

// roomForUser finds fault where a tenant has as many users as it may have.
func (a *API) roomForUser(tx *store.Tx, tenant store.TenantID) error {
	n, err := tx.CountUsers(tenant)
	return full(n, a.cfg.Limits.Users, "users", err)
}

// roomForTenant finds fault where there are as many tenants right below one as may be.
func (a *API) roomForTenant(tx *store.Tx, parent store.TenantID) error {
	n, err := tx.CountTenants(parent)
	return full(n, a.cfg.Limits.Tenants, "tenants", err)
}

func full(n, most int, what string, err error) error {
	if err == nil && n >= most {
		err = problem(CodeInvalid, "", FieldError{"body", FieldTooMany, fmt.Sprintf("there are %d %s, and no more can be", n, what)})
	}
	return err
}
