package relay

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// metrics are the relay's collectors. No label ever holds a serial.
type metrics struct {
	sessions    *prometheus.GaugeVec   // kind, transport
	accepted    *prometheus.CounterVec // kind, transport
	choices     *prometheus.CounterVec // transport, choice
	refused     *prometheus.CounterVec // code
	ended       *prometheus.CounterVec // code
	opens       *prometheus.CounterVec // code
	openSeconds prometheus.Histogram   // to the device's open-ack
	streams     prometheus.Gauge       // joined now
	streamEnds  *prometheus.CounterVec // code
	bytes       *prometheus.CounterVec // direction: to_target, to_caller
	connects    *prometheus.CounterVec // status of CONNECT requests
	entries     *prometheus.CounterVec // code
	bulk        *prometheus.CounterVec // outcome: joined, no_device, no_caller
	clones      *prometheus.CounterVec // rule: instance, alternating
	watchers    prometheus.Gauge       // of presence
	changes     prometheus.Counter     // told to watchers of presence
	drops       *prometheus.CounterVec // reason: what was thrown away
	heartbeat   prometheus.Histogram   // round trip as devices measure it
	draining    prometheus.Gauge
	udpBuffer   prometheus.Gauge // bytes
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "auerproxy", Name: name, Help: help}, labels)
	}
	m := &metrics{
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "auerproxy", Name: "sessions", Help: "Sessions held now.",
		}, []string{"kind", "transport"}),
		accepted: counter("sessions_accepted_total", "Sessions that got a welcome.", "kind", "transport"),
		choices:  counter("transport_choices_total", "Sessions by transport, and why the endpoint uses it, where it says so.", "transport", "choice"),
		refused:  counter("sessions_refused_total", "Sessions refused before a welcome, by error number.", "code"),
		ended:    counter("sessions_ended_total", "Sessions that ended after a welcome, by error number.", "code"),
		opens:    counter("opens_total", "Streams that callers asked for, by error number (0 is opened).", "code"),
		openSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "auerproxy", Name: "open_seconds", Help: "Time from preamble to the endpoint's open-ack.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "auerproxy", Name: "streams", Help: "Streams joined now.",
		}),
		streamEnds: counter("streams_ended_total", "Joined streams that ended, by error number (0 is both sides done).", "code"),
		bytes:      counter("stream_bytes_total", "Bytes copied between streams.", "direction"),
		connects:   counter("connect_requests_total", "HTTP CONNECT requests, by status.", "status"),
		entries:    counter("entry_connections_total", "Connections to static entries, by error number (0 is opened).", "code"),
		bulk:       counter("bulk_calls_total", "Calls that asked for data connections: joined, or in the tunnel because one side has none.", "outcome"),
		clones:     counter("clone_alarms_total", "Suspected copies of a certificate, by rule.", "rule"),
		watchers: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "auerproxy", Name: "presence_watchers", Help: "Streams that are told which devices are connected.",
		}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "auerproxy", Name: "presence_told_total", Help: "Sessions of devices told to watchers, of snapshots too.",
		}),
		drops: counter("drops_total", "What was thrown away, by reason.", "reason"),
		heartbeat: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "auerproxy", Name: "heartbeat_rtt_seconds", Help: "Round trip of heartbeats as endpoints measured it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		draining: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "auerproxy", Name: "draining", Help: "1 while the relay is being emptied.",
		}),
		udpBuffer: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "auerproxy", Name: "udp_receive_buffer_bytes",
			Help: "Receive buffer of the UDP socket as the kernel gave it; 0 if not known.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.sessions, m.accepted, m.choices, m.refused, m.ended, m.opens, m.openSeconds, m.streams, m.streamEnds,
		m.bytes, m.connects, m.entries, m.bulk, m.clones, m.watchers, m.changes, m.drops, m.heartbeat, m.draining, m.udpBuffer,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// label is a code as a metric label: its stable name.
func label(c tunnel.Code) string { return c.Info().Name }
