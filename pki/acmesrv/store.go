package acmesrv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/smallstep/certificates/acme"
	acmedb "github.com/smallstep/certificates/acme/db/nosql"
	"github.com/smallstep/nosql/database"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/ratelimit"
)

// store adds to smallstep's storage what is decided before something is stored.
type store struct {
	*acmedb.DB
	server *Server
}

func newStore(db database.DB, s *Server) (*store, error) {
	inner, err := acmedb.New(db)
	if err != nil {
		return nil, fmt.Errorf("ACME storage: %w", err)
	}
	if err := db.CreateTable(deviceTable); err != nil {
		return nil, fmt.Errorf("ACME storage: %w", err)
	}
	return &store{DB: inner, server: s}, nil
}

// role is a role at work.
type role struct {
	Role
	orders *ratelimit.Limiter[string]
}

func (s *store) role(ctx context.Context) role {
	return s.server.roles[acme.MustProvisionerFromContext(ctx).GetName()]
}

// CreateOrder refuses an account that has made too many, and a PBX what is another's.
func (s *store) CreateOrder(ctx context.Context, o *acme.Order) error {
	r := s.role(ctx)
	if r.orders == nil || !r.orders.Allow(o.AccountID) {
		return rateLimited("too many orders of this account")
	}
	if r.Devices {
		names := make([]string, len(o.Identifiers))
		for i, id := range o.Identifiers {
			names[i] = id.Value
		}
		if err := s.checkDevice(r.Role, o.AccountID, names); err != nil {
			return err
		}
	}
	return s.DB.CreateOrder(ctx, o)
}

// UpdateChallenge makes a proof that failed the end of its authorization (RFC 8555
// §7.1.6). smallstep leaves that pending, and clients wait until they give up.
func (s *store) UpdateChallenge(ctx context.Context, c *acme.Challenge) error {
	if c.Error != nil {
		c.Status = acme.StatusInvalid
	}
	if err := s.DB.UpdateChallenge(ctx, c); err != nil || c.Status != acme.StatusInvalid {
		return err
	}
	authz, err := s.GetAuthorization(ctx, c.AuthorizationID)
	if err != nil {
		return err
	}
	// Another proof may have been good.
	if err := authz.UpdateStatus(ctx, s); err != nil || authz.Status != acme.StatusPending {
		return err
	}
	authz.Status = acme.StatusInvalid
	return s.UpdateAuthorization(ctx, authz)
}

// CreateCertificate tells [Config.Issued]. The certificate is signed by then, but
// only what is stored here can be fetched.
func (s *store) CreateCertificate(ctx context.Context, cert *acme.Certificate) error {
	r := s.role(ctx)
	if r.Devices {
		if err := s.checkDevice(r.Role, cert.AccountID, cert.Leaf.DNSNames); err != nil {
			return err
		}
	}
	role := r.Name
	err := s.server.cfg.Issued(ctx, Issue{Role: role, Account: cert.AccountID, Order: cert.OrderID, Certificate: cert.Leaf})
	if err != nil {
		s.server.cfg.Logger.Error("a certificate is not handed out", "role", role, "names", cert.Leaf.DNSNames, "error", err)
		return fmt.Errorf("certificate not recorded: %w", err)
	}
	if err := s.DB.CreateCertificate(ctx, cert); err != nil {
		return err
	}
	s.server.cfg.Logger.Info("certificate issued", "role", role, "account", cert.AccountID, "names", cert.Leaf.DNSNames,
		"addresses", cert.Leaf.IPAddresses, "certificate", cert.Leaf.SerialNumber.Text(16), "expires", cert.Leaf.NotAfter)
	return nil
}

// GetExternalAccountKey says what is wrong with a key where smallstep blames itself.
func (s *store) GetExternalAccountKey(ctx context.Context, provisionerID, keyID string) (*acme.ExternalAccountKey, error) {
	key, err := s.DB.GetExternalAccountKey(ctx, provisionerID, keyID)
	switch {
	case acme.IsErrNotFound(err):
		return nil, acme.NewError(acme.ErrorUnauthorizedType, "the external account key is not known")
	case err == nil && key.AlreadyBound():
		return nil, acme.NewError(acme.ErrorUnauthorizedType, "the external account key is bound to another account")
	}
	return key, err
}

// GetExternalAccountKeyByReference reads both records without the lock that smallstep
// has for all keys of the process. smallstep takes that lock for reading twice, one in
// the other; where somebody asks to write in between, all three wait for ever.
func (s *store) GetExternalAccountKeyByReference(ctx context.Context, provisionerID, reference string) (*acme.ExternalAccountKey, error) {
	value, err := s.server.cfg.DB.Get(referenceTable, []byte(provisionerID+"."+reference))
	if errors.Is(err, database.ErrNotFound) {
		return nil, acme.ErrNotFound
	}
	var r struct {
		KeyID string `json:"externalAccountKeyID"`
	}
	if err == nil {
		err = json.Unmarshal(value, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("external account key of %s: %w", reference, err)
	}
	return s.DB.GetExternalAccountKey(ctx, provisionerID, r.KeyID)
}

// UpdateExternalAccountKey binds a key to the account that was just made with it.
// smallstep has stored the account by then; if another took the key in between,
// the account must not stay usable.
func (s *store) UpdateExternalAccountKey(ctx context.Context, provisionerID string, key *acme.ExternalAccountKey) error {
	var err error
	if s.role(ctx).Devices {
		err = s.bindDevice(key.AccountID, identity.Serial(key.Reference))
	}
	if err == nil {
		err = s.DB.UpdateExternalAccountKey(ctx, provisionerID, key)
	}
	if err == nil {
		return nil
	}
	account, gerr := s.GetAccount(ctx, key.AccountID)
	if gerr == nil {
		account.Status = acme.StatusDeactivated
		gerr = s.UpdateAccount(ctx, account)
	}
	if errors.Is(err, errBound) {
		err = acme.NewError(acme.ErrorUnauthorizedType, "the external account key is bound to another account")
	}
	return errors.Join(err, gerr)
}

// Where smallstep keeps external account keys, which of them a PBX has, and the list
// of all those of a role.
var (
	keyTable       = []byte("acme_external_account_keys")
	referenceTable = []byte("acme_external_account_keyID_reference_index")
	listTable      = []byte("acme_external_account_keyID_provisionerID_index")
)

var errBound = errors.New("the external account key is bound already")

// guarded mends three things of smallstep's way to use a database.
//
// It refuses to change an external account key that is bound. smallstep looks at
// that before it makes the account, so that two accounts could be made with one key
// at the same time. What is compared here is what was read, so the swap fails, on
// every instance, if it was bound since.
//
// It keeps no list of a role's keys, which nobody reads here: smallstep writes all of
// it anew with each key, and can add none once the list has become empty.
//
// And an empty value is none: smallstep swaps the last order of an account for
// nothing, and would not find its way out of the empty value that bbolt makes of it.
type guarded struct{ database.DB }

func (d guarded) Get(table, key []byte) ([]byte, error) {
	if bytes.Equal(table, listTable) {
		return nil, database.ErrNotFound
	}
	value, err := d.DB.Get(table, key)
	if err == nil && len(value) == 0 {
		return nil, database.ErrNotFound
	}
	return value, err
}

func (d guarded) CmpAndSwap(table, key, old, next []byte) ([]byte, bool, error) {
	if bytes.Equal(table, listTable) {
		return next, true, nil
	}
	if bytes.Equal(table, keyTable) && len(old) > 0 {
		var k struct {
			AccountID string `json:"accountID"`
		}
		if err := json.Unmarshal(old, &k); err != nil {
			return nil, false, fmt.Errorf("external account key: %w", err)
		}
		if k.AccountID != "" {
			return old, false, errBound
		}
	}
	return d.DB.CmpAndSwap(table, key, old, next)
}

// rateLimited is the refusal of RFC 8555 §6.6. smallstep would answer 400.
func rateLimited(format string, args ...any) *acme.Error {
	err := acme.NewError(acme.ErrorRateLimitedType, format, args...)
	err.Detail = fmt.Sprintf(format, args...)
	err.Status = http.StatusTooManyRequests
	return err
}
