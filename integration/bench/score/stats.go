package score

import "slices"

// Spread is the median of some figures with the smallest and the largest.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// NewSpread sorts a copy. All is 0 without a figure.
func NewSpread(figures []float64) Spread {
	n := len(figures)
	if n == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(figures))
	return Spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1], N: n}
}

// Cell is one contestant's work in one round.
type Cell struct {
	Round      int    `json:"round"`
	Contestant string `json:"contestant"`
	Work       string `json:"work"`
	// Figures by metric; what could not be measured is left out.
	Figures map[Metric]float64 `json:"figures,omitempty"`
	// Errors counts failed connections. A cell with errors has figures, and counts
	// for no target.
	Errors int    `json:"errors,omitempty"`
	First  string `json:"first_error,omitempty"`
}

// Metric is what a figure is; its value is the unit, in the form that benchstat
// reads.
type Metric string

// The metrics.
const (
	Bits     Metric = "Gbit/s"
	Rate     Metric = "ops/s"
	P50      Metric = "p50-us"
	P99      Metric = "p99-us"
	P999     Metric = "p99.9-us"
	CPUByte  Metric = "relay-cpu-s/GB"
	CPUOp    Metric = "relay-cpu-us/op"
	IdleConn Metric = "relay-KiB/conn"

	// On lines with delay and loss, see integration/chaos: a download, and requests
	// beside it and alone.
	Mbits     Metric = "Mbit/s"
	P50Loaded Metric = "loaded-p50-ms"
	P99Loaded Metric = "loaded-p99-ms"
	P50Alone  Metric = "p50-ms"
	P99Alone  Metric = "p99-ms"

	// Accepts are handshakes per second of a core's time, Connects those that the
	// whole machine made, with the fleet's side of them.
	Accepts      Metric = "accepts/s/core"
	Connects     Metric = "tunnels/s"
	TunnelMemory Metric = "relay-KiB/tunnel"
	// IdleCPU is what a tunnel costs with its heartbeats alone, in a second.
	IdleCPU Metric = "relay-cpu-us/s/tunnel"
	// Storm is the time from a kill of the relay until every tunnel is back.
	Storm Metric = "storm-s"
	// StormP99 is the 99th percentile of calls to tunnels that nothing happens to
	// while all others of the relay come back at once, divided by the one before.
	StormP99 Metric = "storm-p99-ratio"

	// Of certificate authorities, see integration/bench/ca.
	Certs   Metric = "certs/s"
	CPUCert Metric = "server-cpu-us/cert"
	// Anon is the memory that is the server's own, Resident also counts what it has
	// mapped of its store's file and the kernel may take back.
	Anon     Metric = "own-MiB"
	Resident Metric = "resident-MiB"
	// StoreSize is that of the file, StoreCert what of it each certificate takes.
	StoreSize Metric = "store-MB"
	StoreCert Metric = "store-bytes/cert"
	// StartUp is the time from the start of the program to its answer to a question
	// for its health, FirstCert that to the first certificate.
	StartUp   Metric = "start-ms"
	FirstCert Metric = "first-cert-ms"
	// CRLTime is that from the revocation of one certificate to the list that has it,
	// CRLSize the list's, and CRLPeak by how much Anon rose meanwhile.
	CRLTime Metric = "crl-ms"
	CRLSize Metric = "crl-KiB"
	CRLPeak Metric = "crl-peak-MiB"

	// Of reverse proxies, see integration/bench/gateway: processor time of the proxy for a
	// request and for what it carried, and memory for each connection that stays.
	ProxyOp   Metric = "proxy-cpu-us/op"
	ProxyByte Metric = "proxy-cpu-s/GB"
	ProxyConn Metric = "proxy-KiB/conn"
)

// Fleet is the work of many tunnels; it is none of package work.
const Fleet = "fleet"

// The contestants of [Fleet].
const (
	FleetTCP    = "tunnel-tcp"
	FleetQUIC   = "tunnel-quic"
	CryptoFloor = "crypto"
	TLSFloor    = "crypto/tls"
)

// figures gives a metric of a contestant's work by round; cells with errors are
// left out.
func figures(cells []Cell, contestant, work string, m Metric) map[int]float64 {
	list := make(map[int]float64)
	for _, c := range cells {
		if v, ok := c.Figures[m]; ok && c.Contestant == contestant && c.Work == work && c.Errors == 0 {
			list[c.Round] = v
		}
	}
	return list
}

// Paired is the spread of the ratio of two contestants, each ratio taken within a
// round; rounds that lack one of the two are left out.
func Paired(cells []Cell, a, b, work string, m Metric) Spread {
	as, bs := figures(cells, a, work, m), figures(cells, b, work, m)
	var ratios []float64
	for round, v := range as {
		if w := bs[round]; w > 0 {
			ratios = append(ratios, v/w)
		}
	}
	return NewSpread(ratios)
}

// Of is the spread of a contestant's figures.
func Of(cells []Cell, contestant, work string, m Metric) Spread {
	var list []float64
	for _, v := range figures(cells, contestant, work, m) {
		list = append(list, v)
	}
	return NewSpread(list)
}

// failed gives the errors of a contestant's work over all rounds.
func failed(cells []Cell, contestant, work string) (n int, first string) {
	for _, c := range cells {
		if c.Contestant == contestant && c.Work == work {
			n += c.Errors
			if first == "" {
				first = c.First
			}
		}
	}
	return n, first
}
