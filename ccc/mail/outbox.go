package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// sealedFor is what mails are sealed for; their id is the mail's.
const sealedFor = "mail"

// Words in store.Mail.Failure that are no code of a server's.
const (
	FailureExpired     = "expired"     // there was no more use in it
	FailureUnreachable = "unreachable" // no connection, or it broke, or no TLS
	FailureSignIn      = "sign-in"     // the server does not take user and password
	failureSealed      = "sealed"      // it does not open
	failureWords       = "words"       // it cannot be put into words
)

// Outbox queues mails and sends them. It can be used by several goroutines, and several
// processes may send from one store.
type Outbox struct {
	cfg     Config
	tls     *tls.Config
	metrics *metrics
}

// New makes an outbox. It starts nothing.
func New(cfg Config) (*Outbox, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Store == nil || cfg.Keys == nil {
		return nil, errors.New("mail: Store and Keys are needed")
	}
	var err error
	o := &Outbox{cfg: cfg.withDefaults(), tls: &tls.Config{MinVersion: tls.VersionTLS12}}
	if cfg.CAFile != "" {
		text, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, &configs.KeyError{Key: "ca_file", Problem: err.Error(), Cause: err}
		}
		o.tls.RootCAs = x509.NewCertPool()
		if !o.tls.RootCAs.AppendCertsFromPEM(text) {
			return nil, &configs.KeyError{Key: "ca_file", Problem: "has no certificate", Hint: "PEM is wanted"}
		}
	}
	if cfg.PasswordFile != "" {
		if _, err := cfg.PasswordFile.Read(); err != nil {
			return nil, &configs.KeyError{Key: "password_file", Problem: err.Error(), Cause: err}
		}
	}
	if o.metrics, err = newMetrics(o.cfg.Metrics, cfg.Store); err != nil {
		return nil, err
	}
	return o, nil
}

// Enabled tells whether there is mail. Nil is an outbox without.
func (o *Outbox) Enabled() bool { return o != nil && o.cfg.Server != "" }

// ErrMessage: a message cannot be written, and never will be.
var ErrMessage = errors.New("mail: it cannot be written")

// Queue has a mail be sent once the transaction is committed. The errors are [ErrMessage]
// and those of the store.
func (o *Outbox) Queue(tx *store.Tx, m Message) (store.MailID, error) {
	if !address(m.To) {
		return "", fmt.Errorf("%w: the recipient is not an address", ErrMessage)
	}
	if _, err := m.write(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMessage, err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	id, now := store.NewID[store.MailID](), time.Now()
	sealed, err := o.cfg.Keys.Seal(sealedFor, string(id), text)
	if err != nil {
		return "", err
	}
	life := o.cfg.GiveUp
	if m.Life > 0 {
		life = min(life, m.Life)
	}
	return id, tx.CreateMail(store.Mail{
		ID: id, Tenant: m.Of, Kind: string(m.Kind), Priority: m.Kind.priority(), Sealed: sealed, Due: now, Expires: now.Add(life), Created: now,
	})
}

// Run sends what is due, until ctx ends.
func (o *Outbox) Run(ctx context.Context) error {
	if !o.Enabled() {
		<-ctx.Done()
		return ctx.Err()
	}
	o.reseal(ctx)
	var wg sync.WaitGroup
	for range o.cfg.Parallel {
		wg.Go(func() { o.work(ctx) })
	}
	sweep := time.NewTicker(time.Hour)
	defer sweep.Stop()
	for {
		if err := o.sweep(ctx); err != nil && ctx.Err() == nil {
			o.cfg.Logger.Warn("old mails are not removed", "error", err)
		}
		select {
		case <-ctx.Done():
			wg.Wait()
			return ctx.Err()
		case <-sweep.C:
		}
	}
}

func (o *Outbox) sweep(ctx context.Context) error {
	return o.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.SweepMails(time.Now().Add(-o.cfg.Keep))
		return err
	})
}

// work sends one mail after the other.
func (o *Outbox) work(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := o.cfg.LookEvery
		switch m, err := o.take(ctx); {
		case err == nil:
			o.deliver(ctx, m)
			wait = 0
		case ctx.Err() == nil && !errors.Is(err, store.ErrNotFound):
			o.cfg.Logger.Warn("the store did not give the mails that are to be sent", "error", err)
		}
		timer.Reset(wait)
	}
}

// take gives a mail that is due, which nobody else takes while it is being sent.
// store.ErrNotFound: none is, or there were as many in this hour as may be.
func (o *Outbox) take(ctx context.Context) (m store.Mail, err error) {
	now := time.Now()
	bounds := store.MailBounds{Since: now.Add(-time.Hour), All: o.cfg.PerHour, Reserved: o.cfg.Reserved, PerTenant: o.cfg.PerTenant}
	err = o.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		m, err = tx.TakeMail(now, now.Add(2*o.cfg.Timeout+time.Minute), bounds)
		return err
	})
	return m, err
}

// deliver tries a mail, and notes what has become of it, also where ctx ends meanwhile.
func (o *Outbox) deliver(ctx context.Context, m store.Mail) {
	failure, final := "", true
	if time.Now().Before(m.Expires) {
		failure, final = o.try(ctx, m)
	} else {
		failure = FailureExpired
	}
	log := o.cfg.Logger.With("mail", m.ID, "kind", m.Kind, "try", m.Tries)
	note, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.cfg.Timeout)
	defer cancel()
	now := time.Now()
	err := o.cfg.Store.Update(note, func(tx *store.Tx) error {
		switch {
		case failure == "":
			return tx.EndMail(m.ID, store.MailSent, "", now)
		case final:
			return tx.EndMail(m.ID, store.MailFailed, failure, now)
		}
		return tx.PostponeMail(m.ID, now.Add(o.wait(m.Tries)), failure)
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		log.Info("a mail was withdrawn while it was tried", "failure", failure)
	case err != nil:
		log.Error("what has become of a mail is not noted; it may be sent once more", "error", err)
	case failure == "":
		o.metrics.sent.WithLabelValues(m.Kind).Inc()
		log.Info("a mail was sent")
	case final:
		o.metrics.failed.WithLabelValues(m.Kind).Inc()
		log.Warn("a mail was given up", "failure", failure)
	default:
		log.Info("a mail was not sent, and is tried again", "failure", failure)
	}
}

// wait is the time after a number of tries.
func (o *Outbox) wait(tries int) time.Duration {
	d := o.cfg.RetryMin << min(max(tries-1, 0), 30)
	if d <= 0 || d > o.cfg.RetryMax {
		d = o.cfg.RetryMax
	}
	return d + rand.N(d/10+1) //nolint:gosec // so that not all come at once
}

// open reads what is in a mail.
func (o *Outbox) open(m store.Mail) (Message, error) {
	var v Message
	text, err := o.cfg.Keys.Open(sealedFor, string(m.ID), m.Sealed)
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(text, &v)
}

// reseal takes the mails that wait to the newest key.
func (o *Outbox) reseal(ctx context.Context) {
	err := o.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.QueuedMails()
		for _, m := range all {
			sealed, changed, bad := o.cfg.Keys.Reseal(sealedFor, string(m.ID), m.Sealed)
			if bad == nil && changed {
				err = errors.Join(err, tx.ResealMail(m, sealed))
			}
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		o.cfg.Logger.Warn("mails were not taken to the newest key", "error", err)
	}
}
