package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of histograms: a microsecond to ten minutes, three
// significant digits. What is longer counts as ten minutes.
const (
	histogramMax    = 10 * time.Minute
	histogramDigits = 3
)

// Histogram collects times. It is safe for concurrent use; make it with
// [NewHistogram].
type Histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram // guarded by mu
}

// NewHistogram makes an empty histogram of about 200 KiB.
func NewHistogram() *Histogram {
	return &Histogram{h: hdrhistogram.New(1, histogramMax.Microseconds(), histogramDigits)}
}

// Add counts one time.
func (h *Histogram) Add(d time.Duration) {
	us := min(max(d, time.Microsecond), histogramMax).Microseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.h.RecordValue(us); err != nil {
		panic(err) // us is within the range
	}
}

// Latency is the summary of a histogram. Times are in nanoseconds in JSON,
// precise to a thousandth.
type Latency struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Summary gives the percentiles; all are 0 without a value.
func (h *Histogram) Summary() Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.h.TotalCount()
	if n == 0 {
		return Latency{}
	}
	us := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	at := func(percent float64) time.Duration { return us(h.h.ValueAtQuantile(percent)) }
	return Latency{
		Count: n,
		Mean:  time.Duration(h.h.Mean() * float64(time.Microsecond)).Round(time.Microsecond),
		P50:   at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: us(h.h.Max()),
	}
}
