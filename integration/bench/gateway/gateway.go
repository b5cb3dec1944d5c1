// Package gateway compares the gateway for remote access with plain reverse proxies that
// serve the same pages.
//
//	report := &score.Report{…}
//	err := gateway.Measure(ctx, gateway.Options{Rounds: 3, Duration: 2 * time.Second, …}, report)
//
// # Works
//
// Each round starts every contestant alone, in another order, and does with it, over
// TLS 1.3:
//
//	page1, page32  so many connections of HTTP/1.1, each asks for a page of 4 KiB again
//	               and again
//	h2page32       thirty-two requests at once over HTTP/2
//	down1, down8   so many connections read an answer without end
//	up1            one connection sends a body without end
//	socket500      five hundred WebSockets are opened and used once; what counts is memory
//
// With [Options].Sessions, ours does one more in the last round, "sessions2000": so many
// sessions are begun, let in and kept, each in a browser of its own with one connection; then
// each asks for a page in turn.
//
// # Contestants
//
//	ara    the gateway, behind it the Auerproxy and a PBX: end-to-end TLS to the PBX inside
//	       a tunnel with TLS. Its access log is on. CPU and memory are the gateway's alone
//	nginx  reads the pages from the PBX's web server over plain HTTP/1.1 on loopback,
//	       connections kept; no access log; as many workers as processors
//	caddy  the same, as it is set by default
//
// So ours does what they do and two hops of encryption more; all share the processors
// with client and PBX. The programs are ara, auerproxy, nginx and caddy beside this one,
// in PATH, or where ARA, AUERPROXY, NGINX and CADDY point; one that is missing is a row
// of the report.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// The contestants.
const (
	ARA   = "ara"
	Nginx = "nginx"
	Caddy = "caddy"
)

// Options of a run. Rounds, Duration, Watch and Progress are needed.
type Options struct {
	Rounds int
	// Duration is that of one measurement.
	Duration time.Duration
	// Sockets are the WebSockets that are open at once, Sessions the sessions at ours;
	// 0: that work is left out.
	Sockets  int
	Sessions int
	// Watch does a part of the run and notes how quiet the machine was.
	Watch func(ctx context.Context, when string, f func(context.Context) error) error
	// Progress shows people what goes on.
	Progress *load.Progress
}

// runner is a run under way.
type runner struct {
	Options
	report *score.Report
	dir    string // thrown away at the end
	pbx    ready  // the pages behind all contestants
	issuer issuer
	tls    pair
	fronts []front // those that are installed
}

// works in the order in which they are done and shown; sessions says whether to count
// what is done with ours alone.
func (r *runner) works(sessions bool) []work {
	all := []work{
		{"page1", pages(1)},
		{"page32", pages(32)},
		{"h2page32", h2pages(32)},
		{"down1", bulk(1, false)},
		{"down8", bulk(8, false)},
		{"up1", bulk(1, true)},
	}
	if r.Sockets > 0 {
		all = append(all, work{"socket" + strconv.Itoa(r.Sockets), sockets(r.Sockets)})
	}
	if r.Sessions > 0 && sessions {
		all = append(all, work{"sessions" + strconv.Itoa(r.Sessions), r.sessions})
	}
	return all
}

// Measure measures, and adds to the report.
func Measure(ctx context.Context, o Options, report *score.Report) (err error) {
	r := &runner{Options: o, report: report}
	if r.dir, err = os.MkdirTemp("", "bench-gateway"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	report.Subject, report.Duration = "Gateway", o.Duration
	for _, w := range r.works(true) {
		report.Works = append(report.Works, w.name)
	}
	ca, err := pkitest.NewCA(td)
	if err != nil {
		return err
	}
	devices := max(1, (o.Sessions+sessionsPerPBX-1)/sessionsPerPBX)
	certs := filepath.Join(r.dir, "certs")
	parts := []identity.ID{identity.Relay(td, relayName), identity.Service(td, ARA), identity.Service(td, "ccc")}
	for i := range devices {
		parts = append(parts, identity.Device(td, serial(i)))
	}
	if err := load.WriteDir(certs, load.FromCA(ca, 0), 0, parts...); err != nil {
		return err
	}
	if r.issuer, err = newIssuer(certs); err != nil {
		return err
	}
	if r.tls, err = newPair(r.dir); err != nil {
		return err
	}
	if r.fronts, err = r.contestants(ctx); err != nil {
		return err
	}
	relay, err := process.FreePort(host)
	if err != nil {
		return err
	}
	r.pbx.Relay = at(relay)
	pbx, err := process.StartRole(ctx, &r.pbx, roleName, "--dir", certs, "--devices", strconv.Itoa(devices), "--relay", r.pbx.Relay)
	if err != nil {
		return err
	}
	defer pbx.Stop()
	for round := range o.Rounds {
		err := o.Watch(ctx, fmt.Sprintf("round %d", round+1), func(ctx context.Context) error {
			for i := range r.fronts {
				if err := r.visit(ctx, round, r.fronts[(i+round)%len(r.fronts)]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// visit does all works with one contestant. That a work fails is a result.
func (r *runner) visit(ctx context.Context, round int, f front) error {
	r.Progress.Say("round %d of %d: %s", round+1, r.Rounds, f.name)
	w, err := f.start(ctx, r)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	defer w.stop()
	for _, one := range r.works(f.name == ARA && round == r.Rounds-1) {
		if err := w.settle(ctx); err != nil {
			return err
		}
		figures, err := one.do(ctx, w, r.Duration)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.add(round, f.name, one.name, figures, err)
	}
	return nil
}

func (r *runner) add(round int, contestant, work string, figures map[score.Metric]float64, err error) {
	c := score.Cell{Round: round, Contestant: contestant, Work: work, Figures: figures}
	if err != nil {
		c.Errors, c.First = 1, err.Error()
	}
	r.report.Cells = append(r.report.Cells, c)
}
