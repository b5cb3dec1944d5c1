package accesslog

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the log's collectors. No label holds anything of an address.
type metrics struct {
	records  *prometheus.CounterVec // class
	lost     *prometheus.CounterVec // reason: queue, write
	jumps    prometheus.Counter
	troubles prometheus.Gauge
	failing  atomic.Bool // troubles is not 0
	jump     atomic.Bool // a jump was not long ago
}

func newMetrics(reg prometheus.Registerer, l *Log) (*metrics, error) {
	const namespace, subsystem = "comtrexx", "access_log"
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "records_total", Help: "Accesses noted, by class.",
		}, []string{"class"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "lost_total", Help: "Accesses that are missing in the raw stream, by reason.",
		}, []string{"reason"}),
		jumps: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "clock_jumps_total", Help: "Jumps of the clock forward by more than an hour.",
		}),
		troubles: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "troubles", Help: "Parts of the access log that cannot be written or deleted now.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.records, m.lost, m.jumps, m.troubles,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "oldest_raw_seconds", Help: "Age of the oldest address that is kept; never more than raw_for.",
		}, func() float64 { return l.age().Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "alarm",
			Help: "1 when an address is kept for too long, when something cannot be written or deleted, or within a day after a jump of the clock.",
		}, l.alarm),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("access log: metrics: %w", err)
		}
	}
	return m, nil
}

// age gives that of the oldest segment's beginning.
func (l *Log) age() time.Duration {
	at, c := l.oldest.Load(), l.clock.Load()
	if at == 0 || c == nil {
		return 0
	}
	return c.now().log.Sub(time.Unix(at, 0).Add(-l.cfg.RawFor))
}

func (l *Log) alarm() float64 {
	if l.age() > l.cfg.RawFor || l.metrics.failing.Load() || l.metrics.jump.Load() {
		return 1
	}
	return 0
}
