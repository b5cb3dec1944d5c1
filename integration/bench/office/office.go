// Package office measures a control centre with people at work: thousands of PBXs of
// hundreds of tenants, of sizes as they come, and dozens of people who look for systems,
// sort and filter them, change them, and leave their pages open. Relay and control centre
// are the real programs, in processes of their own; the people are in this process, and
// what they wait is measured there.
package office

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Options say how much.
type Options struct {
	PBXs, Tenants, Users int
	// Online of the PBXs are connected.
	Online int
	// Duration is how long people work.
	Duration time.Duration
	// Pause is the mean time between two clicks of one person.
	Pause time.Duration
	// DatabaseURLFile holds the URL of an empty PostgreSQL database. Empty: SQLite.
	DatabaseURLFile string
	Programs        cloud.Programs
	Progress        *load.Progress
}

// Validate finds fault with numbers that do not go together.
func (o Options) Validate() error {
	switch {
	case o.Tenants < 3:
		return errors.New("--tenants is at least 3: an operator, a reseller and a customer")
	case o.PBXs < 10*o.Tenants || o.PBXs > 900_000:
		return errors.New("--pbxs is at least ten for each tenant, and at most 900000")
	case o.Online < 0 || o.Online > o.PBXs:
		return errors.New("--online is from 0 to --pbxs")
	case o.Users < 1 || o.Users > 1000:
		return errors.New("--users is from 1 to 1000")
	case o.Duration <= 0 || o.Pause <= 0:
		return errors.New("--duration and --pause are above 0")
	}
	return nil
}

// Report is what was measured. Times are in nanoseconds in JSON, memory in bytes.
type Report struct {
	Engine  store.Engine `json:"engine"`
	PBXs    int          `json:"pbxs"`
	Largest int          `json:"largest"` // PBXs of the largest tenant
	Tenants int          `json:"tenants"`
	Users   int          `json:"users"`
	Online  int          `json:"online"`
	// Elapsed is how long they worked.
	Elapsed time.Duration `json:"elapsed_ns"`
	// Requests are what they waited for, by what they did, in the order of [kinds].
	Requests []load.Row `json:"requests"`
	// Events is how many live events their pages got.
	Events int64 `json:"events"`
	// Memory is resident at the end; CPU is what the work took.
	CentreMemory uint64        `json:"ccc_memory"`
	CentreCPU    time.Duration `json:"ccc_cpu_ns"`
}

// td is the trust domain.
const td = identity.DefaultTrustDomain

// Measure runs everything once.
func Measure(ctx context.Context, o Options) (r Report, err error) {
	dir, err := os.MkdirTemp("", "office")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ca, err := pkitest.NewCA(td)
	if err != nil {
		return r, err
	}
	certs := filepath.Join(dir, "certs")
	if err := load.WriteDir(certs, load.FromCA(ca, 0), 0, cloud.Identities(td)...); err != nil {
		return r, err
	}
	cfg := cloud.Config{
		Programs: o.Programs, Credentials: certs, TrustDomain: td, Dir: filepath.Join(dir, "cloud"), DatabaseURLFile: o.DatabaseURLFile,
	}
	o.Progress.Say("%d PBXs of %d tenants into the database", o.PBXs, o.Tenants)
	t, err := fill(ctx, cfg, o)
	if err != nil {
		return r, err
	}
	r.Engine, r.PBXs, r.Largest, r.Tenants, r.Users, r.Online = cfg.Store().Engine, o.PBXs, len(t.largest().systems), o.Tenants, o.Users, o.Online
	s, err := cloud.Start(ctx, cfg)
	if err != nil {
		return r, err
	}
	defer s.Stop()
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	defer func() {
		cancel()
		if end := g.Wait(); end != nil && !errors.Is(end, context.Canceled) {
			err = errors.Join(err, end)
		}
	}()
	if o.Online > 0 {
		f, err := connect(ca, s.Relay, o.Online)
		if err != nil {
			return r, err
		}
		g.Go(func() error { return f.Run(ctx) })
		err = o.Progress.While(ctx, func() string { return fmt.Sprintf("%d of %d PBXs online", f.Online(), o.Online) }, func(ctx context.Context) error {
			return f.WaitOnline(ctx, o.Online)
		})
		if err != nil {
			return r, err
		}
	}
	return r, t.work(ctx, o, s, &r)
}

// connect makes the PBXs that are online: those of the lowest serials, which are all
// tenants' in turn.
func connect(ca *pkitest.CA, relay string, n int) (*fleet.Fleet, error) {
	creds := make([]*enrol.Credentials, n)
	for i := range creds {
		creds[i] = ca.Credentials(identity.Device(td, serial(i)))
	}
	return fleet.New(fleet.Config{Relays: []string{relay}, Credentials: creds, Transport: fleet.TransportMix})
}

func serial(i int) identity.Serial { return identity.Serial(fmt.Sprintf("%010d", 300_000_001+i)) }

// work has everybody work for a while.
func (t *town) work(ctx context.Context, o Options, s *cloud.Cloud, r *Report) (err error) {
	all := make([]*person, 0, o.Users)
	defer func() {
		for _, p := range all {
			p.leave()
		}
	}()
	o.Progress.Say("%d people sign in", o.Users)
	for i := range o.Users {
		p, err := t.arrive(ctx, s.URL, i)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	before, err := s.Usage()
	if err != nil {
		return err
	}
	begin := time.Now()
	count := newCount()
	err = o.Progress.While(ctx, func() string { return fmt.Sprintf("%d requests", count.all.Load()) }, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for i, p := range all {
			random := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // of a load
			g.Go(func() error { return p.work(ctx, random, o, begin.Add(o.Duration), count) })
		}
		return g.Wait()
	})
	if err != nil {
		return err
	}
	r.Elapsed, r.Requests = time.Since(begin), count.rows()
	for _, p := range all {
		r.Events += p.live.Events()
	}
	after, err := s.Usage()
	r.CentreMemory, r.CentreCPU = after.Centre.RSS, after.Centre.CPU-before.Centre.CPU
	return err
}

// Write prints the report for people.
func (r Report) Write(w io.Writer) error {
	p := load.NewPrinter(w)
	p.Line("%s: %d PBXs of %d tenants, %d of the largest one, %d online; %d people at work for %s",
		r.Engine, r.PBXs, r.Tenants, r.Largest, r.Online, r.Users, load.Short(r.Elapsed))
	p.Latencies(r.Requests)
	p.Line("  live events %d, CPU of ccc %s, memory %s", r.Events, load.Short(r.CentreCPU), load.Size(r.CentreMemory))
	return p.Err()
}
