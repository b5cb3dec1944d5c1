package pairing

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a service. Labels have few values, none of which names anybody.
type metrics struct {
	offers      prometheus.Counter
	closed      *prometheus.CounterVec // state
	completions *prometheus.CounterVec // result
	dissolved   *prometheus.CounterVec // reason
	deliveries  *prometheus.CounterVec // kind, result
	proofs      *prometheus.CounterVec // result
}

func newMetrics(reg prometheus.Registerer, calls *queue) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ccc", Subsystem: "pairing", Name: name, Help: help}, labels)
	}
	m := &metrics{
		offers: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "ccc", Subsystem: "pairing", Name: "offers_total", Help: "Offers made.",
		}),
		closed:      counter("offers_closed_total", "Offers that ended, by how.", "state"),
		completions: counter("completions_total", "Completions by PBXs, by result.", "result"),
		dissolved:   counter("dissolved_total", "Pairings that ended, by reason.", "reason"),
		deliveries:  counter("deliveries_total", "What was brought to PBXs, by kind and result.", "kind", "result"),
		proofs:      counter("proofs_total", "Logins at PBXs, by result.", "result"),
	}
	if reg == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "ccc", Subsystem: "pairing", Name: "waiting", Help: "PBXs that something is being brought to, or waits to be.",
	}, func() float64 { return float64(calls.len()) })
	var all []error
	for _, c := range []prometheus.Collector{m.offers, m.closed, m.completions, m.dissolved, m.deliveries, m.proofs, waiting} {
		all = append(all, reg.Register(c))
	}
	return m, errors.Join(all...)
}
