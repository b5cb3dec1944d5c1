package mail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// about is a mail of a tenant.
func about(kind Kind, of store.TenantID, to string) Message {
	m := invitation(to)
	m.Kind, m.Of, m.Provider = kind, of, "Muster ID"
	return m
}

// turn takes the next mail and has it be sent, and tells whose it was; empty: none.
func (w *world) turn(o *Outbox) string {
	w.t.Helper()
	m, err := o.take(w.t.Context())
	if errors.Is(err, store.ErrNotFound) {
		return ""
	}
	w.must(err)
	w.must(w.db.Update(w.t.Context(), func(tx *store.Tx) error { return tx.EndMail(m.ID, store.MailSent, "", time.Now()) }))
	return fmt.Sprint(m.Tenant, " ", m.Kind)
}

// TestTurns: invitations of one tenant neither use up what all may send, nor delay those of
// another or what is about passwords; an hour later there is room again.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.outbox(Config{Server: "127.0.0.1:1", TLS: None, PerHour: 12, Reserved: 3, PerTenant: 5})
		for i := range 40 {
			w.queue(o, about(Invitation, "flood", fmt.Sprintf("f%d@example.com", i)))
		}
		time.Sleep(time.Second)
		w.queue(o, about(Invitation, "other", "o@example.com"))
		w.queue(o, about(InvitationTaken, "other", "p@example.com"))
		w.queue(o, about(PasswordReset, "flood", "r@example.com"))
		w.queue(o, about(PasswordChanged, "third", "s@example.com"))
		counted := map[string]int{}
		var first []string
		for range 12 {
			got := w.turn(o)
			counted[got]++
			first = append(first, got)
		}
		if got := strings.Join(first[:2], ", "); got != "flood password_reset, third password_changed" {
			t.Errorf("first come %s", got)
		}
		if got := fmt.Sprint(counted); got != "map[:3 flood invitation:5 flood password_reset:1 other invitation:1 other invitation_taken:1 third password_changed:1]" {
			t.Errorf("in the first hour: %s", got)
		}
		w.queue(o, about(PasswordReset, "flood", "t@example.com"))
		w.queue(o, about(Invitation, "third", "u@example.com"))
		if got := w.turn(o) + ", " + w.turn(o); got != "flood password_reset, " {
			t.Errorf("what is reserved: %s", got)
		}
		time.Sleep(time.Hour + time.Second)
		if got := w.turn(o) + ", " + w.turn(o); got != "flood invitation, third invitation" && got != "third invitation, flood invitation" {
			t.Errorf("an hour later: %s", got)
		}
	})
}

// A mail that is withdrawn while the server looks at it leaves no error, and is not tried
// again.
func TestWithdrawnMeanwhile(t *testing.T) {
	t.Parallel()
	f, w := newFake(t), newWorld(t)
	o := w.outbox(Config{Server: f.addr, TLS: None, Timeout: 5 * time.Second})
	var id store.MailID
	f.behave(func(command string, _ int) string {
		if command != "RCPT" {
			return ""
		}
		err := w.db.Update(context.Background(), func(tx *store.Tx) error {
			_, err := tx.WithdrawMail(id, time.Now())
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return "450 later"
	})
	id = w.queue(o, invitation("jo@example.com"))
	m, err := o.take(t.Context())
	w.must(err)
	o.deliver(t.Context(), m)
	if m := w.mail(id); m.State != store.MailWithdrawn || m.Tries != 1 || strings.Contains(w.log.String(), "[ERROR]") || !strings.Contains(w.log.String(), "was withdrawn while") {
		t.Errorf("%+v\n%s", m, w.log.String())
	}
}

// figures are those of a registry, by name and kind.
func figures(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := m.GetLabel()
			if len(labels) != 1 || labels[0].GetName() != "kind" {
				t.Fatalf("labels %v", labels)
			}
			all[f.GetName()+" "+labels[0].GetValue()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

// TestMetrics: what waits, since when, and what became of mails, by their kind.
func TestMetrics(t *testing.T) {
	t.Parallel()
	f, w, registry := newFake(t), newWorld(t), prometheus.NewRegistry()
	o := w.outbox(Config{Server: f.addr, TLS: None, Timeout: 5 * time.Second, Metrics: registry})
	f.behave(func(command string, n int) string {
		if command == "RCPT" && n == 2 {
			return "550 no"
		}
		return ""
	})
	if got := figures(t, registry); len(got) != 4*len(kinds()) || got["ccc_mail_queued invitation"] != 0 || got["ccc_mail_oldest_seconds invitation"] != 0 {
		t.Errorf("without a mail: %v", got)
	}
	old := w.queue(o, invitation("a@example.com"))
	w.queue(o, about(PasswordReset, "t", "b@example.com"))
	if got := figures(t, registry); got["ccc_mail_queued invitation"] != 1 || got["ccc_mail_queued password_reset"] != 1 || got["ccc_mail_oldest_seconds invitation"] <= 0 {
		t.Errorf("with two: %v", got)
	}
	for range 2 { // the reset first
		m, err := o.take(t.Context())
		w.must(err)
		o.deliver(t.Context(), m)
	}
	got := figures(t, registry)
	if got["ccc_mail_sent_total password_reset"] != 1 || got["ccc_mail_failed_total invitation"] != 1 || got["ccc_mail_sent_total invitation"] != 0 || got["ccc_mail_queued invitation"] != 0 {
		t.Errorf("at the end: %v, %+v", got, w.mail(old))
	}
}
