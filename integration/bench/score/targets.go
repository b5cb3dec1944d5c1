package score

import (
	"fmt"
	"slices"
	"strings"
)

// Target is one line of what has to be reached: a paired ratio of ours to a
// peer's, or a figure of ours.
type Target struct {
	Class  string
	What   string // for people
	Work   string // empty: another program measures it
	Metric Metric
	Ours   string
	// Versus is the contestant that the ratio is to; empty: the figure itself.
	Versus string
	// Required and Aim bound the median from below, or from above with AtMost.
	Required float64
	Aim      float64
	AtMost   bool
	// How tells what measures a target that Work does not.
	How string
}

// Verdict is what a target came to.
type Verdict string

// The verdicts.
const (
	OK          Verdict = "ok"
	Short       Verdict = "short"
	NotMeasured Verdict = "not measured"
)

// Judgement is a target with what was measured.
type Judgement struct {
	Target
	Figure  Spread
	Verdict Verdict
	// Aimed: the aim is reached too.
	Aimed bool
	// Reason says why a target was not measured.
	Reason string
}

// Judge holds the cells against a target.
func (t Target) Judge(cells []Cell) Judgement {
	j := Judgement{Target: t, Verdict: NotMeasured}
	switch {
	case t.Work == "":
		j.Reason = t.How
		return j
	case t.Versus == "":
		j.Figure = Of(cells, t.Ours, t.Work, t.Metric)
	default:
		j.Figure = Paired(cells, t.Ours, t.Versus, t.Work, t.Metric)
	}
	// Work that fails is no figure, and not a missing one either.
	if n, first := failed(cells, t.Ours, t.Work); n > 0 {
		j.Verdict, j.Reason = Short, fmt.Sprintf("%d connections of %s failed: %s", n, t.Ours, first)
		return j
	}
	if j.Figure.N == 0 {
		j.Reason = "no round has both figures"
		return j
	}
	reached := func(bound float64) bool {
		if t.AtMost {
			return j.Figure.Median <= bound
		}
		return j.Figure.Median >= bound
	}
	j.Verdict, j.Aimed = Short, reached(t.Aim)
	if reached(t.Required) {
		j.Verdict = OK
	}
	return j
}

// Bound shows a bound with its direction.
func (t Target) Bound(v float64) string {
	if t.AtMost {
		return fmt.Sprintf("<= %.4g", v)
	}
	return fmt.Sprintf(">= %.4g", v)
}

// Targets are all lines. End-to-end calls are judged over TCP, where package dial
// starts by itself; against frp stcp with a caller that bridges a local port, as its
// visitor does, against the others with one that calls through the package.
func Targets() []Target {
	const (
		e2e, sdk, same, bulk = "e2e-tcp", "sdk-tcp", "same-tcp", "sdk-bulk"
		mux, nomux           = "frp-mux", "frp-nomux"
	)
	var list []Target
	least := func(class, ours, versus, work string, m Metric, required, aim float64) {
		list = append(list, Target{Class: class, Work: work, Metric: m, Ours: ours, Versus: versus, Required: required, Aim: aim})
	}
	most := func(class, ours, versus, work string, m Metric, required, aim float64) {
		list = append(list, Target{Class: class, Work: work, Metric: m, Ours: ours, Versus: versus, Required: required, Aim: aim, AtMost: true})
	}
	for _, work := range []string{"down1", "down8"} {
		least("e2e", bulk, mux, work, Bits, 1.6, 2)
		least("e2e", bulk, nomux, work, Bits, 1.05, 1.3)
		most("e2e", bulk, mux, work, CPUByte, 0.40, 0.25)
		most("e2e", bulk, nomux, work, CPUByte, 0.60, 0.35)
	}
	least("e2e", e2e, "frp-stcp", "open32", Rate, 2.2, 3)
	least("e2e", sdk, mux, "open32", Rate, 1.4, 2)
	for _, r := range []struct {
		work          string
		required, aim float64
	}{{"req1", 1.2, 1.6}, {"req32", 1.15, 1.6}, {"req256", 1.35, 1.8}} {
		least("e2e", e2e, "frp-stcp", r.work, Rate, r.required, r.aim)
		most("e2e", e2e, "frp-stcp", r.work, P99, 1, 1)
	}
	least("e2e", sdk, mux, "req32", Rate, 0.8, 1.1)
	least("e2e", sdk, mux, "req256", Rate, 1, 1.3)
	most("e2e", sdk, mux, "req32", CPUOp, 1, 0.6)
	most("e2e", sdk, mux, "req256", CPUOp, 0.5, 0.35)
	most("e2e", sdk, mux, "open32", CPUOp, 0.4, 0.25)
	for _, work := range []string{"down1", "down8"} {
		least("same", same, mux, work, Bits, 1.25, 1.5)
		least("same", same, "chisel", work, Bits, 2, 2.5)
		least("same", "same-quic", "frp-quic", work, Bits, 1.3, 2)
	}
	for _, work := range []string{"req32", "req256"} {
		least("same", same, mux, work, Rate, 1.25, 1.6)
		most("same", same, mux, work, P99, 1, 1)
		least("same", same, "chisel", work, Rate, 1, 1.25)
		most("same", same, "chisel", work, P99, 1, 1)
	}
	least("same", same, mux, "req1", Rate, 1.1, 1.5)
	least("same", same, "chisel", "req1", Rate, 0.9, 1.1)
	least("same", same, mux, "open32", Rate, 1.8, 2.5)
	least("same", same, "chisel", "open32", Rate, 1.4, 2)
	least("same", same, "nginx", "down1", Bits, 0.35, 0.5)
	least("same", same, "nginx", "req32", Rate, 0.5, 0.6)
	least("same", same, "nginx", "open32", Rate, 0.55, 0.7)
	most("-", same, "", "idle300", IdleConn, 8, 4)
	for _, t := range []struct {
		name                string
		memory, memoryAim   float64
		accepts, acceptsAim float64
	}{{FleetQUIC, 70, 50, 0.35, 0.5}, {FleetTCP, 48, 30, 0.42, 0.5}} {
		most("-", t.name, "", Fleet, TunnelMemory, t.memory, t.memoryAim)
		least("-", t.name, CryptoFloor, Fleet, Accepts, t.accepts, t.acceptsAim)
		most("-", t.name, "", Fleet, Storm, 30, 15)
		most("-", t.name, "", Fleet, StormP99, 2, 2)
	}
	return append(list, elsewhere()...)
}

// Judged are the contestants that some target names, and the bare loopback.
func Judged() []string {
	names := []string{"direct"}
	for _, t := range Targets() {
		for _, name := range []string{t.Ours, t.Versus} {
			if name != "" && t.Work != Fleet && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Needed reports whether some target needs this work of the contestant, or may be read
// beside it: the bare loopback, which has no memory of its own.
func Needed(contestant, work string) bool {
	if contestant == "direct" {
		return !strings.HasPrefix(work, "idle")
	}
	return slices.ContainsFunc(Targets(), func(t Target) bool {
		return t.Work == work && (t.Ours == contestant || t.Versus == contestant)
	})
}

// Judge holds all targets against the report. The size of its fleet is told where
// it is not the one that the targets are for.
func (r *Report) Judge() []Judgement {
	var list []Judgement
	for _, t := range Targets() {
		j := t.Judge(r.Cells)
		if t.Work == Fleet && j.Verdict != NotMeasured && j.Reason == "" && r.Devices < fleetSize {
			j.Reason = fmt.Sprintf("with %d tunnels, the target is for %d", r.Devices, fleetSize)
		}
		list = append(list, j)
	}
	return list
}

// fleetSize is how many tunnels the targets of a fleet are for.
const fleetSize = 10_000

// elsewhere are the targets that other programs measure.
func elsewhere() []Target {
	line := func(what string, required, aim float64, atMost bool, how string) Target {
		return Target{Class: "-", What: what, Required: required, Aim: aim, AtMost: atMost, How: how}
	}
	return []Target{
		line("QUIC goodput to frp mux, loss 1 %, 50 ms", 1.2, 2, false, "by make bench-link"),
	}
}

// Name says what is compared.
func (t Target) Name() string {
	switch {
	case t.Work == "":
		return t.What
	case t.Versus == "":
		return fmt.Sprintf("%s %s of %s", t.Work, t.Metric, t.Ours)
	default:
		return fmt.Sprintf("%s %s of %s to %s", t.Work, t.Metric, t.Ours, t.Versus)
	}
}

// Enough gives an error that counts the required figures that are missed.
func Enough(list []Judgement) error {
	n := 0
	for _, j := range list {
		if j.Verdict == Short {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d required figures are missed", n)
	}
	return nil
}
