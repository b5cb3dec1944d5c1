package server

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Admin is a first administrator that was just made.
type Admin struct {
	Email    string
	Password string
	File     string // has the password, too
}

// makeFirst makes the first administrator where there is no user. The file is there
// before the account, so that no account has a password that nobody knows; a file and a
// tenant that are there already are of an attempt that failed, and are taken.
func makeFirst(ctx context.Context, cfg FirstAdmin, db *store.DB, accounts *account.Accounts) (*Admin, error) {
	if cfg.File == "" {
		return nil, nil //nolint:nilnil // none was asked for
	}
	ctx = store.WithAct(ctx, &store.Act{Actor: "ccc", Operation: "cli.first_admin"})
	tenant, users, err := firstTenant(ctx, db)
	if err != nil || users {
		return nil, err
	}
	d := DefaultConfig().FirstAdmin
	admin := &Admin{Email: cmp.Or(cfg.Email, d.Email), File: cfg.File}
	if admin.Password, err = firstPassword(cfg.File); err != nil {
		return nil, &configs.KeyError{Key: "file", Problem: err.Error(), Cause: err}
	}
	if tenant == "" {
		name := cmp.Or(cfg.Tenant, d.Tenant)
		tenant = store.NewID[store.TenantID]()
		err = db.Update(ctx, func(tx *store.Tx) error {
			return tx.CreateTenant(store.Tenant{ID: tenant, Kind: store.KindOperator, Name: name, LegalName: name, Created: time.Now()})
		})
		if err != nil {
			return nil, err
		}
	}
	_, err = accounts.Create(ctx, account.NewUser{
		Tenant: tenant, Email: admin.Email, Name: "Administrator", Roles: []store.Role{store.RoleOwner},
		Language: cmp.Or(cfg.Language, d.Language), Password: admin.Password,
	})
	return admin, err
}

// firstTenant gives the oldest tenant, if there is one, and whether there are users.
func firstTenant(ctx context.Context, db *store.DB) (id store.TenantID, users bool, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		tenants, err := tx.Tenants()
		if err != nil {
			return err
		}
		for _, tenant := range slices.Backward(tenants) {
			all, err := tx.Users(tenant.ID)
			if err != nil {
				return err
			}
			id, users = tenant.ID, users || len(all) > 0
		}
		return nil
	})
	return id, users, err
}

// firstPassword draws a password and writes it to the file, or reads the one that is
// there.
func firstPassword(file string) (string, error) {
	password := account.NewPassword()
	err := WriteSecret(file, password)
	if !errors.Is(err, fs.ErrExist) {
		return password, err
	}
	text, err := configs.SecretFile(file).Read()
	return string(text), err
}

// WriteSecret makes a file with a secret that only its owner can read. It replaces none.
func WriteSecret(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
