package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// metrics of the PKI. No label holds an identity.
type metrics struct {
	requests    *prometheus.CounterVec
	ocsp        *prometheus.CounterVec
	events      *prometheus.CounterVec
	subscribers prometheus.Gauge
	own         prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, a *authority.Authority, lists *crl.Service) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pki_requests_total", Help: "Requests by route and result.",
		}, []string{"route", "result"}),
		ocsp: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pki_ocsp_responses_total", Help: "OCSP responses by result.",
		}, []string{"result"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pki_audit_events_total",
			Help: "Entries of the audit log by event, since this process started. Processes with one store count the same ones.",
		}, []string{"event"}),
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pki_block_subscribers", Help: "Relays and services that follow the block list now.",
		}),
		own: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pki_own_certificate_expiry_timestamp_seconds", Help: "When the PKI's own server certificate expires, in Unix time.",
		}),
	}
	// A counter that begins at its first event shows no increase of it.
	for _, event := range []string{audit.EventIssue, audit.EventRefuse, audit.EventClone, audit.EventBlock, audit.EventUnblock} {
		m.events.WithLabelValues(event)
	}
	if r == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	all := []prometheus.Collector{
		m.requests, m.ocsp, m.events, m.subscribers, m.own,
		gauge("pki_blocked_identities", "Identities on the block list.", func() float64 { return float64(a.Feed().List().Len()) }),
		gauge("pki_block_epoch", "Epoch of the block list.", func() float64 { return float64(a.Feed().List().Epoch()) }),
		gauge("pki_bundle_version", "Version of the trust bundle.", func() float64 { return float64(a.Bundle().Version) }),
		gauge("pki_root_remaining_seconds", "Time until the first of the roots expires.", func() float64 { return time.Until(a.RootExpiry()).Seconds() }),
		failures{a},
	}
	for kind := range a.Expiry() {
		all = append(all, lifeOf(kind.String(), func() time.Time { return a.Expiry()[kind] }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pki_intermediate_short", ConstLabels: prometheus.Labels{"kind": kind.String()},
			Help: "1 where an active intermediate expires before a certificate of now should, which is cut short.",
		}, func() float64 {
			if a.Short(kind) {
				return 1
			}
			return 0
		}))
	}
	if lists != nil {
		all = append(all, revocationLists{lists})
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// lifeOf tells how long an active intermediate is valid.
func lifeOf(role string, expires func() time.Time) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pki_intermediate_remaining_seconds", Help: "Time until an active intermediate expires.",
		ConstLabels: prometheus.Labels{"kind": role},
	}, func() float64 { return time.Until(expires()).Seconds() })
}

func (m *metrics) request(route, result string) { m.requests.WithLabelValues(route, result).Inc() }

// subscriber counts one more until the function is called.
func (m *metrics) subscriber() func() {
	m.subscribers.Inc()
	return m.subscribers.Dec
}

// followEvery is how late the audit log is counted.
const followEvery = 5 * time.Second

// follow counts the entries of the audit log, whichever process writes them, until
// ctx ends.
func (m *metrics) follow(ctx context.Context, a *authority.Authority) error {
	last, err := a.LastAudit(ctx)
	for err == nil && pause(ctx, followEvery) {
		for e, readErr := range a.Audit(ctx, last) {
			if readErr != nil {
				break // counted as a failure of the store; the next round goes on here
			}
			m.events.WithLabelValues(e.Event).Inc()
			last = e.Seq
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// failures tells what the store could not do.
type failures struct{ a *authority.Authority }

var (
	storeErrors   = prometheus.NewDesc("pki_store_errors_total", "Failures of the store by operation.", []string{"op"}, nil)
	auditFailures = prometheus.NewDesc("pki_audit_write_failures_total", "Entries of the audit log that could not be written; what they tell did not happen.", nil, nil)
)

func (failures) Describe(out chan<- *prometheus.Desc) {
	out <- storeErrors
	out <- auditFailures
}

func (f failures) Collect(out chan<- prometheus.Metric) {
	byOp, unwritten := f.a.Failures()
	for _, op := range []store.Op{store.OpBegin, store.OpRead, store.OpWrite, store.OpCommit} {
		out <- prometheus.MustNewConstMetric(storeErrors, prometheus.CounterValue, float64(byOp[op]), string(op))
	}
	out <- prometheus.MustNewConstMetric(auditFailures, prometheus.CounterValue, float64(unwritten))
}

// revocationLists tells of the lists that are served.
type revocationLists struct{ lists *crl.Service }

var (
	crlAge      = prometheus.NewDesc("pki_crl_age_seconds", "Age of the oldest revocation list of a kind.", []string{"kind"}, nil)
	crlEntries  = prometheus.NewDesc("pki_crl_entries", "Certificates on the revocation lists of a kind.", []string{"kind"}, nil)
	crlFailures = prometheus.NewDesc("pki_crl_failures_total", "Attempts to make the revocation lists that failed.", nil, nil)
)

func (revocationLists) Describe(out chan<- *prometheus.Desc) {
	out <- crlAge
	out <- crlEntries
	out <- crlFailures
}

func (c revocationLists) Collect(out chan<- prometheus.Metric) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lists, err := c.lists.Lists(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(crlAge, err)
		return
	}
	age, entries := make(map[string]float64), make(map[string]float64)
	for _, l := range lists {
		entries[l.Kind] += float64(l.Entries)
		if l.Number > 0 {
			age[l.Kind] = max(age[l.Kind], time.Since(l.Made).Seconds())
		}
	}
	for kind, n := range entries {
		out <- prometheus.MustNewConstMetric(crlEntries, prometheus.GaugeValue, n, kind)
	}
	for kind, seconds := range age {
		out <- prometheus.MustNewConstMetric(crlAge, prometheus.GaugeValue, seconds, kind)
	}
	out <- prometheus.MustNewConstMetric(crlFailures, prometheus.CounterValue, float64(c.lists.Failures()))
}
