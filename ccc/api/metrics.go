package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the API's figures. No label has anything of a tenant.
type metrics struct {
	seconds *prometheus.HistogramVec
	resets  prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, h *hub) (*metrics, error) {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ccc_api_request_seconds", Help: "Time for a request, streams for as long as they last.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"operation", "status"}),
		resets: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ccc_api_stream_resets_total", Help: "Times that a reader of live events had to load everything anew.",
		}),
	}
	streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ccc_api_streams", Help: "Open streams of live events.",
	}, func() float64 { return float64(h.count()) })
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.seconds, m.resets, streams} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(operation string, status int, took time.Duration) {
	m.seconds.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
}
