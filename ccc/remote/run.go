package remote

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const (
	// Every is how often the broker looks who has lost the right to what he has open, what
	// is over, and which PBX is still to be told.
	Every = 3 * time.Second
	// grace is how long the report of an end may take to come before the end is noted
	// without it.
	grace = 2 * time.Minute
	// tellFor is how long a PBX that does not connect is to be told of an end. By then
	// all that it had is over: no consent is for longer than a day.
	tellFor = 48 * time.Hour
	// sweepEvery is how often old records are removed.
	sweepEvery = time.Hour
	// callsAtOnce is how many PBXs are told at once.
	callsAtOnce = 16
	// pageSize is how many records are looked at in one transaction.
	pageSize = 500
)

// Report takes what a PBX says about one of its own sessions. The serial is that of the
// connection. The error has a [wire.Problem].
func (b *Broker) Report(ctx context.Context, serial identity.Serial, m wire.RemoteReport) error {
	var r store.Remote
	err := b.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if r, err = tx.SerialRemote(serial, store.RemoteID(m.Session)); err != nil {
			return err
		}
		p, err := tx.ActivePairing(serial)
		if err == nil && p.Epoch != r.Epoch {
			return store.ErrNotFound // it has another owner, to whom the record is not
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		r = follow(r, m, b.cfg.now())
		return tx.SetRemote(r)
	})
	if errors.Is(err, store.ErrNotFound) {
		return wire.NewProblem(wire.CodeUnknownSession, "")
	}
	if err != nil {
		b.log.Error("a report about remote access is not noted", "serial", serial, "session", m.Session, "error", err)
		return wire.NewProblem(wire.CodeInternal, "")
	}
	b.metrics.reports.WithLabelValues(string(m.State)).Inc()
	b.log.Info("remote access", "serial", serial, "session", m.Session, "state", r.State, "cause", r.Cause)
	b.cfg.Notify(r.Tenant, r.System)
	return nil
}

// Run ends what has to end, tells PBXs, and removes old records, until ctx ends. Call it
// once.
func (b *Broker) Run(ctx context.Context) error {
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	for {
		if err := b.look(ctx); err != nil && ctx.Err() == nil {
			b.log.Warn("remote access is not looked after; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// look does once what Run does.
func (b *Broker) look(ctx context.Context) error {
	err1 := pages(ctx, b.cfg.Store, (*store.Tx).OpenRemotes, b.endOverdue)
	var calls errgroup.Group
	calls.SetLimit(callsAtOnce)
	err2 := pages(ctx, b.cfg.Store, (*store.Tx).EndingRemotes, func(ctx context.Context, r store.Remote) error {
		calls.Go(func() error { b.tell(ctx, r); return nil })
		return ctx.Err()
	})
	return errors.Join(err1, err2, calls.Wait(), b.sweep(ctx))
}

// pages calls f with every record of a list.
func pages(ctx context.Context, db *store.DB, list func(*store.Tx, store.RemoteID, int) ([]store.Remote, error), f func(context.Context, store.Remote) error) error {
	for after := store.RemoteID(""); ; {
		var page []store.Remote
		err := db.View(ctx, func(tx *store.Tx) (err error) {
			page, err = list(tx, after, pageSize)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := f(ctx, r); err != nil {
				return err
			}
			after = r.ID
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

// endOverdue ends a session whose user has lost the right, or of whose end no report has
// come.
func (b *Broker) endOverdue(ctx context.Context, r store.Remote) error {
	may := true
	err := b.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		may, err = access.MayRemote(tx, r.User, r.Tenant, r.System, b.cfg.now())
		return err
	})
	if err != nil {
		return err
	}
	if _, over := overdue(r, may, b.cfg.now()); !over {
		return nil
	}
	return b.change(ctx, r, func(r store.Remote) store.Remote {
		if next, over := overdue(r, may, b.cfg.now()); over {
			return next
		}
		return r
	}, &r)
}

// overdue gives the record of a session that has to be over by now.
func overdue(r store.Remote, may bool, now time.Time) (next store.Remote, over bool) {
	if r.State.Final() {
		return r, false
	}
	next = r
	switch late := now.Add(-grace); {
	case !may:
		return ended(r, grant.CauseCCC, now), true
	case r.State == grant.Requested && late.After(r.Expires):
		next.State, next.Cause = grant.Expired, grant.CauseUnreached
	case r.State == grant.Pending && late.After(r.Expires):
		next.State, next.Cause = grant.Expired, grant.CauseNoConsent
	case r.State == grant.Active && r.Until != nil && late.After(*r.Until):
		next.State, next.Cause = grant.Ended, grant.CauseTime
	default:
		return r, false
	}
	next.Ended, next.Ending = &now, grant.CauseCCC // it may have missed the end
	return next, true
}

// tell has a PBX end what it is to end, if it can be reached now.
func (b *Broker) tell(ctx context.Context, r store.Remote) {
	now := b.cfg.now()
	if r.Ending == "" {
		return
	}
	if forget := now.Sub(*r.Ended) > tellFor; !forget {
		if !b.cfg.Online(r.Serial) {
			return
		}
		call, cancel := context.WithTimeout(ctx, b.cfg.CallTimeout)
		defer cancel()
		err := b.cfg.PBX.EndRemote(call, r.Serial, wire.RemoteEnd{Session: grant.SessionID(r.ID), Cause: r.Ending})
		if wire.Temporary(err) {
			b.log.Debug("a PBX is to end remote access, and does not hear", "session", r.ID, "error", err)
			return
		}
	}
	err := b.change(ctx, r, func(now store.Remote) store.Remote {
		now.Ending = ""
		return now
	}, &r)
	if err != nil {
		b.log.Warn("a PBX is told again to end remote access", "session", r.ID, "error", err)
	}
}

func (b *Broker) sweep(ctx context.Context) error {
	now := b.cfg.now()
	if now.Sub(b.swept) < sweepEvery {
		return nil
	}
	err := b.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.SweepRemotes(now.Add(-b.cfg.RecordsKeep))
		return err
	})
	if err == nil {
		b.swept = now
	}
	return err
}
