package pairing

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Kinds of attempts, which are kept under the time until which they count.
const (
	attemptTenant = "offer"
	attemptSerial = "offer to serial"
	attemptImport = "import"
)

// quota is how many offers there may be, of whom and to whom.
type quota []struct {
	kind  string
	limit int
	in    time.Duration
}

// quota is that of offers that are made one by one.
func (s *Service) quota() quota {
	return quota{{attemptTenant, s.cfg.OffersPerHour, time.Hour}, {attemptSerial, s.cfg.OffersPerSerial, 24 * time.Hour}}
}

// importQuota is that of the offers of a list.
func (s *Service) importQuota() quota {
	return quota{{attemptImport, s.cfg.ImportsPerDay, 24 * time.Hour}, {attemptSerial, s.cfg.OffersPerSerial, 24 * time.Hour}}
}

// take counts an offer, and refuses one too many, which it does not count. It asks the
// same of the store for every serial.
func (q quota) take(w *work, sys store.System) error {
	subject := func(kind string) string {
		if kind == attemptSerial {
			return string(sys.Tenant) + "/" + string(sys.Serial)
		}
		return string(sys.Tenant)
	}
	for _, l := range q {
		n, _, err := w.CountAttempts(l.kind, subject(l.kind), w.now)
		if err != nil {
			return err
		}
		if n >= l.limit {
			return &Error{
				Code: CodeQuotaOffers, Message: "too many offers; wait until some of them are older",
				RetryAfter: max(time.Minute, l.in/time.Duration(l.limit)),
			}
		}
	}
	for _, l := range q {
		if err := w.AddAttempt(l.kind, subject(l.kind), w.now.Add(l.in)); err != nil {
			return err
		}
	}
	return nil
}
