// Package pairing measures a control centre under a fleet: how its API answers while
// thousands of PBXs are online and hundreds are paired at the same time. Relay and
// control centre are the real programs, in processes of their own; the PBXs are in this
// process, with a certificate, a tunnel and a state each.
package pairing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Options say how much.
type Options struct {
	// PBXs are online; Pairings of them are paired at once.
	PBXs, Pairings int
	// Systems are in the database besides, so that lists are long.
	Systems  int
	Programs cloud.Programs
	Progress *load.Progress
}

// Report is what was measured. Times are in nanoseconds in JSON, memory in bytes.
type Report struct {
	PBXs     int `json:"pbxs"`
	Pairings int `json:"pairings"`
	Systems  int `json:"systems"`
	// Connected is how long it took until all PBXs were online, and known to be.
	Connected time.Duration `json:"connected_ns"`
	// Idle and Busy are requests that people make: before, and while all pair.
	Idle load.Latency `json:"idle"`
	Busy load.Latency `json:"busy"`
	// List is a page of 100 systems among these, sorted and filtered, while all pair.
	List load.Latency `json:"list"`
	// Saved, Offered, Paired are from the begin of each pairing: the token is there, the
	// PBX has the offer, and the control centre says paired.
	Saved   load.Latency `json:"saved"`
	Offered load.Latency `json:"offered"`
	Paired  load.Latency `json:"paired"`
	// All is from the begin until the last one is paired.
	All time.Duration `json:"all_ns"`
	// Memory is resident, with all online and after all are paired; CPU is what the
	// pairings took.
	CentreIdle  uint64        `json:"ccc_memory_idle"`
	CentreBusy  uint64        `json:"ccc_memory_paired"`
	RelayMemory uint64        `json:"relay_memory"`
	CentreCPU   time.Duration `json:"ccc_cpu_ns"`
	RelayCPU    time.Duration `json:"relay_cpu_ns"`
}

// td is the trust domain.
const td = identity.DefaultTrustDomain

// Measure runs everything once.
func Measure(ctx context.Context, o Options) (r Report, err error) {
	dir, err := os.MkdirTemp("", "pairing")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r.PBXs, r.Pairings, r.Systems = o.PBXs, o.Pairings, o.Systems
	ca, err := pkitest.NewCA(td)
	if err != nil {
		return r, err
	}
	certs := filepath.Join(dir, "certs")
	if err := load.WriteDir(certs, load.FromCA(ca, 0), 0, cloud.Identities(td)...); err != nil {
		return r, err
	}
	s, err := cloud.Start(ctx, cloud.Config{Programs: o.Programs, Credentials: certs, TrustDomain: td, Dir: filepath.Join(dir, "cloud")})
	if err != nil {
		return r, err
	}
	defer s.Stop()
	o.Progress.Say("certificates of %d PBXs", o.PBXs)
	creds := make([]*enrol.Credentials, o.PBXs)
	for i := range creds {
		creds[i] = ca.Credentials(identity.Device(td, serial(i)))
	}
	f, err := fleet.New(fleet.Config{Relays: []string{s.Relay}, Credentials: creds, Transport: fleet.TransportMix})
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return f.Run(ctx) })
	defer func() {
		cancel()
		if end := g.Wait(); end != nil && !errors.Is(end, context.Canceled) {
			err = errors.Join(err, end)
		}
	}()
	return r, measure(ctx, o, s, f, &r)
}

func serial(i int) identity.Serial { return identity.Serial(fmt.Sprintf("%010d", 200_000_001+i)) }

func measure(ctx context.Context, o Options, s *cloud.Cloud, f *fleet.Fleet, r *Report) error {
	someone, err := cloud.SignIn(ctx, s.Access)
	if err != nil {
		return err
	}
	defer someone.Close()
	c := &client{Client: someone}
	begin := time.Now()
	err = o.Progress.While(ctx, func() string { return fmt.Sprintf("%d of %d PBXs online", f.Online(), o.PBXs) }, func(ctx context.Context) error {
		return f.WaitOnline(ctx, o.PBXs)
	})
	if err != nil {
		return err
	}
	r.Connected = time.Since(begin)
	o.Progress.Say("%d systems in the database", o.Systems)
	if err := c.fill(ctx, o.Systems); err != nil {
		return err
	}
	if r.Idle, _, err = c.people(ctx, 5*time.Second, nil); err != nil {
		return err
	}
	before, err := s.Usage()
	if err != nil {
		return err
	}
	r.CentreIdle = before.Centre.RSS
	o.Progress.Say("%d pairings at once", o.Pairings)
	p := &pairings{c: c, f: f, saved: load.NewHistogram(), offered: load.NewHistogram(), paired: load.NewHistogram()}
	done := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer close(done)
		return p.run(ctx, o.Pairings)
	})
	g.Go(func() (err error) {
		r.Busy, r.List, err = c.people(ctx, time.Hour, done)
		return err
	})
	begin = time.Now()
	if err := g.Wait(); err != nil {
		return err
	}
	r.All = time.Since(begin)
	r.Saved, r.Offered, r.Paired = p.saved.Summary(), p.offered.Summary(), p.paired.Summary()
	after, err := s.Usage()
	if err != nil {
		return err
	}
	r.CentreBusy, r.RelayMemory = after.Centre.RSS, after.Relay.RSS
	r.CentreCPU, r.RelayCPU = after.Centre.CPU-before.Centre.CPU, after.Relay.CPU-before.Relay.CPU
	return nil
}

// pairings are all that go on at once.
type pairings struct {
	c *client
	f *fleet.Fleet

	saved, offered, paired *load.Histogram
}

func (p *pairings) run(ctx context.Context, n int) error {
	live, err := p.c.Follow(ctx)
	if err != nil {
		return err
	}
	defer live.Stop()
	g, ctx := errgroup.WithContext(ctx)
	steps := map[cloud.Step]*load.Histogram{cloud.StepSaved: p.saved, cloud.StepOffered: p.offered, cloud.StepPaired: p.paired}
	for i := range n {
		g.Go(func() error {
			begin := time.Now()
			return p.c.Pair(ctx, live, p.f.PBX(serial(i)), fmt.Sprintf("Pairing %04d", i), func(s cloud.Step) {
				steps[s].Add(time.Since(begin))
			})
		})
	}
	return g.Wait()
}

// Write prints the report for people.
func (r Report) Write(w io.Writer) error {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
	mib := func(n uint64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
	row := func(what string, l load.Latency) string {
		return fmt.Sprintf("| %s | %d | %s | %s | %s |\n", what, l.Count, ms(l.P50), ms(l.P99), ms(l.Max))
	}
	_, err := fmt.Fprintf(w, "%d PBXs online (%.1f s), %d systems in the database, %d pairings at once\n\n"+
		"| | count | p50 | p99 | max |\n|---|---:|---:|---:|---:|\n%s%s%s%s%s%s\n"+
		"all paired after %.1f s: %.0f pairings/s; CPU of ccc %.1f s, of the relay %.1f s\n"+
		"memory of ccc %s with all online, %s after the pairings; of the relay %s\n",
		r.PBXs, r.Connected.Seconds(), r.Systems, r.Pairings,
		row("request, quiet", r.Idle), row("request, while all pair", r.Busy), row("of these: page of 100, filtered and sorted", r.List),
		row("pairing: token there", r.Saved), row("offer at the PBX", r.Offered), row("paired", r.Paired),
		r.All.Seconds(), float64(r.Pairings)/r.All.Seconds(), r.CentreCPU.Seconds(), r.RelayCPU.Seconds(),
		mib(r.CentreIdle), mib(r.CentreBusy), mib(r.RelayMemory))
	return err
}
