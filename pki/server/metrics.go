package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
)

// metrics of the PKI. No label holds an identity.
type metrics struct {
	requests    *prometheus.CounterVec
	subscribers prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, a *authority.Authority) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pki_requests_total", Help: "Requests by route and result.",
		}, []string{"route", "result"}),
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pki_block_subscribers", Help: "Relays and services that follow the block list now.",
		}),
	}
	if r == nil {
		return m, nil
	}
	all := []prometheus.Collector{
		m.requests, m.subscribers,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pki_blocked_identities", Help: "Identities on the block list.",
		}, func() float64 { return float64(a.Feed().List().Len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pki_block_epoch", Help: "Epoch of the block list.",
		}, func() float64 { return float64(a.Feed().List().Epoch()) }),
	}
	for kind, expires := range a.Expiry() {
		all = append(all, lifeOf(kind.String(), expires))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func lifeOf(kind string, expires time.Time) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pki_intermediate_remaining_seconds", Help: "Time until an intermediate expires.",
		ConstLabels: prometheus.Labels{"kind": kind},
	}, func() float64 { return time.Until(expires).Seconds() })
}

func (m *metrics) request(route, result string) { m.requests.WithLabelValues(route, result).Inc() }

// subscriber counts one more until the function is called.
func (m *metrics) subscriber() func() {
	m.subscribers.Inc()
	return m.subscribers.Dec
}
