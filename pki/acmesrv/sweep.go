package acmesrv

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/smallstep/nosql/database"
)

// The tables of smallstep's storage that grow, see its package acme/db/nosql.
const (
	nonceTable     = "nonces"
	authzTable     = "acme_authzs"
	challengeTable = "acme_challenges"
	orderTable     = "acme_orders"
	orderListTable = "acme_account_orders_index"
	certTable      = "acme_certs"
	serialTable    = "acme_serial_certs_index"
)

const (
	nonceLife = time.Hour
	orderLife = 24 * time.Hour // smallstep's, for orders and all that belongs to them
	keepOver  = 24 * time.Hour // what has passed stays so long, for clients that come late
)

// row is what the sweep reads of a value.
type row struct {
	CreatedAt     time.Time `json:"createdAt"` // "CreatedAt" in nonces
	CertificateID string    `json:"certificateID"`
}

// Sweep removes nonces, orders and certificates that have passed, and forgets
// clients that have not asked lately. Accounts and external account keys stay. It
// gives the number of records removed. Call it every few hours, on one instance.
func (s *Server) Sweep(now time.Time) (removed int, err error) {
	for _, r := range s.roles {
		r.orders.Forget()
	}
	s.requests.Forget()
	db := s.cfg.DB
	older := func(d time.Duration) func(string, row) bool {
		return func(_ string, r row) bool { return now.Sub(r.CreatedAt) > d }
	}
	n, err := sweepTable(db, nonceTable, older(nonceLife))
	removed += n
	if err != nil {
		return removed, err
	}
	// An order that its account lists must not be missing.
	if err := s.unlistOrders(now.Add(-orderLife - keepOver)); err != nil {
		return removed, err
	}
	listed, err := listedOrders(db)
	if err != nil {
		return removed, err
	}
	gone := make(map[string]bool)
	certOver := s.cfg.Lifetime + keepOver
	for _, t := range []struct {
		table string
		over  func(string, row) bool
	}{
		{orderTable, func(id string, r row) bool { return older(orderLife+keepOver)(id, r) && !listed[id] }},
		{authzTable, older(orderLife + 2*keepOver)}, // after the orders that name them
		{challengeTable, older(orderLife + 3*keepOver)},
		{certTable, func(id string, r row) bool {
			gone[id] = older(certOver)(id, r)
			return gone[id]
		}},
		{serialTable, func(_ string, r row) bool { return gone[r.CertificateID] }},
	} {
		n, err := sweepTable(db, t.table, t.over)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func sweepTable(db database.DB, table string, over func(id string, r row) bool) (removed int, err error) {
	entries, err := db.List([]byte(table))
	if err != nil {
		return 0, fmt.Errorf("ACME storage: %s: %w", table, err)
	}
	for _, e := range entries {
		var r row
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return removed, fmt.Errorf("ACME storage: %s: %w", table, err)
		}
		if !over(string(e.Key), r) {
			continue
		}
		if err := db.Del([]byte(table), e.Key); err != nil {
			return removed, fmt.Errorf("ACME storage: %s: %w", table, err)
		}
		removed++
	}
	return removed, nil
}

// unlistOrders takes orders that were made before the time from their accounts'
// lists. A list that changes meanwhile is left for the next sweep.
func (s *Server) unlistOrders(before time.Time) error {
	return eachList(s.cfg.DB, func(e *database.Entry, ids []string) error {
		var kept []string
		for _, id := range ids {
			value, err := s.cfg.DB.Get([]byte(orderTable), []byte(id))
			if errors.Is(err, database.ErrNotFound) {
				continue
			}
			var r row
			if err == nil {
				err = json.Unmarshal(value, &r)
			}
			if err != nil {
				return fmt.Errorf("ACME storage: order %s: %w", id, err)
			}
			if r.CreatedAt.After(before) {
				kept = append(kept, id)
			}
		}
		if len(kept) == len(ids) {
			return nil
		}
		var next []byte // nil removes the list, as smallstep does
		if kept != nil {
			var err error
			if next, err = json.Marshal(kept); err != nil {
				return err
			}
		}
		_, _, err := s.cfg.DB.CmpAndSwap([]byte(orderListTable), e.Key, e.Value, next)
		return err
	})
}

func listedOrders(db database.DB) (map[string]bool, error) {
	listed := make(map[string]bool)
	err := eachList(db, func(_ *database.Entry, ids []string) error {
		for _, id := range ids {
			listed[id] = true
		}
		return nil
	})
	return listed, err
}

func eachList(db database.DB, f func(e *database.Entry, ids []string) error) error {
	entries, err := db.List([]byte(orderListTable))
	if err != nil {
		return fmt.Errorf("ACME storage: %s: %w", orderListTable, err)
	}
	for _, e := range entries {
		var ids []string
		if len(e.Value) > 0 {
			if err := json.Unmarshal(e.Value, &ids); err != nil {
				return fmt.Errorf("ACME storage: %s: %w", orderListTable, err)
			}
		}
		if err := f(e, ids); err != nil {
			return err
		}
	}
	return nil
}
