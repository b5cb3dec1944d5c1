package gateway

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the figures of a gateway.
type metrics struct {
	requests       *prometheus.CounterVec // by class: 2xx, …
	refused        *prometheus.CounterVec // by reason
	toPBX, fromPBX prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, sessions *registry) (*metrics, error) {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ara_bytes_total", Help: "Bytes to and from the pages of PBXs.",
	}, []string{"direction"})
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ara_requests_total", Help: "Requests of browsers that are done, by the class of their status.",
		}, []string{"class"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ara_refused_total", Help: "Requests that the gateway answered itself because they may not, or cannot, be carried.",
		}, []string{"reason"}),
		toPBX: bytes.WithLabelValues("to_pbx"), fromPBX: bytes.WithLabelValues("from_pbx"),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		reg.Register(bytes), reg.Register(m.requests), reg.Register(m.refused),
		reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ara_sessions", Help: "Sessions that go on.",
		}, func() float64 { _, open := sessions.counts(); return float64(open) })),
		reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ara_sessions_waiting", Help: "Sessions that wait for their grant.",
		}, func() float64 { waiting, _ := sessions.counts(); return float64(waiting) })),
	)
}
