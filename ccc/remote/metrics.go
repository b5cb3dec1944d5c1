package remote

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a broker. Labels have few values, none of which names anybody.
type metrics struct {
	asked   *prometheus.CounterVec // result
	reports *prometheus.CounterVec // state
	grants  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "ccc", Subsystem: "remote", Name: name, Help: help}
	}
	m := &metrics{
		asked:   prometheus.NewCounterVec(opts("asked_total", "Requests for remote access that were brought to PBXs, by result."), []string{"result"}),
		reports: prometheus.NewCounterVec(opts("reports_total", "Reports of PBXs about remote access, by state."), []string{"state"}),
		grants:  prometheus.NewCounter(opts("grants_total", "Grants for the gateway.")),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.asked), reg.Register(m.reports), reg.Register(m.grants))
}
