package mail

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// metrics of an outbox, by the kind of mail. No label has an address or a tenant.
type metrics struct {
	sent, failed *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, db *store.DB) (*metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ccc", Subsystem: "mail", Name: name, Help: help}, []string{"kind"})
	}
	m := &metrics{
		sent:   counter("sent_total", "Mails that the mail server has taken, by kind."),
		failed: counter("failed_total", "Mails that were given up, by kind."),
	}
	for _, k := range kinds() { // a rule about them needs the zero, too
		m.sent.WithLabelValues(string(k))
		m.failed.WithLabelValues(string(k))
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.sent), reg.Register(m.failed), reg.Register(waiting{db}))
}

// waiting looks into the store when it is asked, as every process queues there.
type waiting struct{ db *store.DB }

var (
	queuedDesc = prometheus.NewDesc("ccc_mail_queued", "Mails that wait to be sent, by kind.", []string{"kind"}, nil)
	oldestDesc = prometheus.NewDesc("ccc_mail_oldest_seconds", "How long the oldest mail waits to be sent, by kind; 0: none does.", []string{"kind"}, nil)
)

// lookTimeout bounds a look into the store.
const lookTimeout = 5 * time.Second

// Describe implements [prometheus.Collector].
func (waiting) Describe(c chan<- *prometheus.Desc) {
	c <- queuedDesc
	c <- oldestDesc
}

// Collect implements [prometheus.Collector]. Without an answer of the store there are no
// figures.
func (w waiting) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	var all []store.MailCount
	err := w.db.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.CountMails()
		return err
	})
	if err != nil {
		return
	}
	of := map[string]store.MailCount{}
	for _, k := range kinds() {
		of[string(k)] = store.MailCount{}
	}
	for _, v := range all {
		of[v.Kind] = v
	}
	for kind, v := range of {
		oldest := 0.0
		if v.Waiting > 0 {
			oldest = max(0, time.Since(v.Oldest).Seconds())
		}
		c <- prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(v.Waiting), kind)
		c <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, oldest, kind)
	}
}
