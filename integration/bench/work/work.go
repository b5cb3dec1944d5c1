// Package work makes the load of the comparison: it drives one plain TCP address,
// behind which some way leads to a [Target], and measures what comes back.
//
//	t, err := work.NewTarget()
//	go t.Run(ctx)
//	w, err := work.Parse("req32")
//	r, err := work.Run(ctx, work.Plan{Work: w, Entry: entry, Target: t, Duration: 2 * time.Second})
//
// # Kinds of work
//
//	down8   eight connections that read all that comes; bytes count where the client reads them
//	up8     eight connections that write; bytes count where the target reads them
//	req32   thirty-two connections, each sends 64 bytes and waits for the same 64 bytes
//	open32  thirty-two at once connect, make one such request, and close
//	idle300 three hundred connections that made one request and stay; what counts is memory, each time after a rest of three seconds
//
// The clock of the first three starts when every connection has carried something,
// so that opening is not part of the figure. It runs for the planned time, and on
// until each connection has made one request, or one byte has come: a work gives a
// figure on a starved machine too. A connection that stands still for five seconds
// is an error, and an error is never a fast answer.
package work

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// Kind is what the connections do.
type Kind string

// The kinds of work; see the package.
const (
	Down    Kind = "down"
	Up      Kind = "up"
	Request Kind = "req"
	Open    Kind = "open"
	Idle    Kind = "idle"
)

// Bulk reports whether bytes count, not operations.
func (k Kind) Bulk() bool { return k == Down || k == Up }

// Work is a kind with a number of connections.
type Work struct {
	Kind  Kind
	Conns int
}

// maxConns bounds a name's number: the ports of one address are about 28,000.
const maxConns = 10_000

var form = regexp.MustCompile(`^(down|up|req|open|idle)([1-9][0-9]{0,4})$`)

// Parse reads a name such as "down8".
func Parse(s string) (Work, error) {
	m := form.FindStringSubmatch(s)
	if m == nil {
		return Work{}, fmt.Errorf("work %q, want down, up, req, open or idle and a number, e.g. req32", s)
	}
	n, err := strconv.Atoi(m[2])
	if err != nil || n > maxConns {
		return Work{}, fmt.Errorf("work %q: at most %d connections", s, maxConns)
	}
	return Work{Kind(m[1]), n}, nil
}

// String is the name that [Parse] reads.
func (w Work) String() string { return string(w.Kind) + strconv.Itoa(w.Conns) }

// Plan is one measurement. Work, Entry, Target and Duration are needed.
type Plan struct {
	Work Work
	// Entry is the address that is driven, "host:port".
	Entry string
	// Dial makes a connection to what the entry leads to. Nil: over TCP.
	Dial func(ctx context.Context) (net.Conn, error)
	// Target is what the entry leads to, and nothing else uses meanwhile.
	Target   *Target
	Duration time.Duration
	// Meter reads the use of the process in the middle; it is called at both ends
	// of the measured time. Nil: not measured.
	Meter func() (load.Usage, error)
}

// Result is what was measured.
type Result struct {
	// Elapsed is the measured time.
	Elapsed time.Duration
	// Bytes that arrived; of [Down] and [Up] only.
	Bytes int64
	// Ops are requests or opened connections.
	Ops     int64
	Latency load.Latency
	// CPU is what the process in the middle spent.
	CPU time.Duration
	// Memory is by how many bytes the process in the middle grew; of [Idle] only.
	Memory int64
	// Errors counts connections that failed; First is the first reason.
	Errors int
	First  string
}

// patience is how long a connection may stand still.
const patience = 5 * time.Second

// Run measures. Its error says that nothing was measured; failures of single
// connections are in the result.
func Run(ctx context.Context, p Plan) (Result, error) {
	r := &run{Plan: p, histogram: load.NewHistogram()}
	if r.Dial == nil {
		r.Dial = r.dialTCP
	}
	var err error
	switch p.Work.Kind {
	case Down, Up:
		err = r.bulk(ctx)
	case Request:
		err = r.requests(ctx)
	case Open:
		err = r.opens(ctx)
	case Idle:
		err = r.idle(ctx)
	default:
		err = fmt.Errorf("work: unknown kind %q", p.Work.Kind)
	}
	r.result.Latency = r.histogram.Summary()
	if err != nil {
		return r.result, fmt.Errorf("%s at %s: %w", p.Work, p.Entry, err)
	}
	// What is on its way would disturb the next measurement.
	return r.result, p.Target.settle(ctx)
}

// run is a measurement under way.
type run struct {
	Plan
	histogram *load.Histogram
	before    load.Usage

	mu     sync.Mutex
	result Result // guarded by mu while connections run
}

func (r *run) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result.Errors++; r.result.First == "" {
		r.result.First = err.Error()
	}
}

// begin and end read the meter at both ends of the measured time.
func (r *run) begin() (err error) {
	if r.Meter != nil {
		r.before, err = r.Meter()
	}
	return err
}

func (r *run) end() error {
	if r.Meter == nil {
		return nil
	}
	after, err := r.Meter()
	if err != nil {
		return err
	}
	r.result.CPU = after.CPU - r.before.CPU
	r.result.Memory = int64(after.RSS) - int64(r.before.RSS) //nolint:gosec // far below 2^63
	return nil
}
