package daemon

import "github.com/prometheus/client_golang/prometheus"

// Gauge gives what registers a figure, for packages that devices use, too, and which
// therefore do not know metrics. It is nil where reg is.
func Gauge(reg prometheus.Registerer) func(name, help string, value func() float64) error {
	if reg == nil {
		return nil
	}
	return func(name, help string, value func() float64) error {
		return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
}
