package acmesrv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/smallstep/certificates/acme"
	"github.com/smallstep/nosql/database"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// deviceTable has the serial of each account of a PBX, by the account's id. smallstep
// knows the account of a binding, but not the binding of an account.
var deviceTable = []byte("acme_account_devices")

// bindDevice notes whose an account is, once.
func (s *store) bindDevice(account string, serial identity.Serial) error {
	if _, err := identity.ParseSerial(string(serial)); err != nil {
		return fmt.Errorf("external account key of a PBX: %w", err)
	}
	_, done, err := s.server.cfg.DB.CmpAndSwap(deviceTable, []byte(account), nil, []byte(serial))
	if err == nil && !done {
		err = errBound
	}
	return err
}

// checkDevice refuses names that are not the one of the PBX whose the account is.
func (s *store) checkDevice(r Role, account string, names []string) error {
	serial, err := s.server.cfg.DB.Get(deviceTable, []byte(account))
	if errors.Is(err, database.ErrNotFound) {
		return acme.NewError(acme.ErrorUnauthorizedType, "the account is of no PBX")
	}
	if err != nil {
		return fmt.Errorf("whose account: %w", err)
	}
	if s.server.cfg.Blocked(identity.Serial(serial)) {
		return acme.NewError(acme.ErrorUnauthorizedType, "the PBX is blocked")
	}
	if own := grant.PBXName(identity.Serial(serial), strings.TrimPrefix(r.Names[0], "*.")); len(names) != 1 || names[0] != own {
		refusal := acme.NewError(acme.ErrorRejectedIdentifierType, "a PBX gets a certificate for its own name only")
		refusal.Detail = "a PBX gets a certificate for its own name only, " + own
		return refusal
	}
	return nil
}
