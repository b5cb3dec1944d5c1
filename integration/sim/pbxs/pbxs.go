// Package pbxs simulates PBXs by the thousand in one process, good and hostile ones,
// against a relay and a control centre: all connect, some are paired by somebody who uses
// the control centre's API, the hostile ones attack it meanwhile, and then pairings are
// dissolved and made again, and PBXs lose their power and come back.
//
//	report, err := pbxs.Run(ctx, pbxs.Options{PBXs: 5000, Pair: 100, Hostile: 0.01, …})
//	err = report.Write(os.Stdout)
//
// Serials, calls, instance ids, who is hostile and what happens to whom follow from a
// seed. The good PBXs keep their state in memory, or in a directory from which the same
// ones come back. An attack that is not refused, a pairing that fails and a PBX that does
// not come back as it was are failures of the report.
package pbxs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Options say what is simulated.
type Options struct {
	// PBXs is how many there are in all, Hostile the share of them that attack, from 0 to
	// 1, and Kinds how; Kinds take turns.
	PBXs    int
	Hostile float64
	Kinds   []Kind
	// Pair is how many good PBXs are to be paired; those that are already count.
	Pair int
	// Churn is how many good PBXs per second are paired anew or lose their power, for so
	// long.
	Churn    float64
	Duration time.Duration
	// CallsPerDay is how many calls each new PBX makes.
	CallsPerDay int
	// Upkeep is about restarts, settings and firmware.
	Upkeep

	Seed uint64
	// Transport is as in [fleet.Config], and so are Rate and Dialing.
	Transport string
	Rate      float64
	Dialing   int
	// Patience bounds the time until all are online, one pairing, and one attack.
	Patience time.Duration

	// State is a directory that keeps everything. Empty: nothing is kept.
	State string

	// Relay is the address of a relay that runs, and CA the directory of certificates for
	// it. Empty: a cloud is started, with certificates of its own and Programs.
	Relay, CA   string
	TrustDomain identity.TrustDomain
	// Centre is a control centre behind that relay. An empty URL: none.
	Centre   cloud.Access
	Programs cloud.Programs

	Progress *load.Progress
}

// hostile is how many PBXs attack.
func (o *Options) hostile() int { return int(math.Round(o.Hostile * float64(o.PBXs))) }

// good is how many do not.
func (o *Options) good() int { return o.PBXs - o.hostile() }

// own tells whether a cloud is started.
func (o *Options) own() bool { return o.Relay == "" }

// simulation is one run.
type simulation struct {
	Options
	report *Report
	tally  tally

	cloud  *cloud.Cloud // nil: it runs elsewhere
	certs  load.Certificates
	good   *fleet.Fleet
	bad    *fleet.Fleet // nil: nobody is hostile
	kinds  []Kind       // of bad, in its order
	launch func(*fleet.Fleet)
	client *cloud.Client // nil: there is no control centre
	live   *cloud.Live   // of client
}

// Run runs a simulation. The report is there, with what was seen so far, on an error too.
func Run(ctx context.Context, o Options) (*Report, error) {
	s := &simulation{Options: o, report: &Report{
		Version: configs.Version(), Started: time.Now().UTC().Truncate(time.Second),
		Machine: load.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
		PBXs:    o.PBXs, Good: o.good(), Hostile: o.hostile(),
	}}
	dir := o.State
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "pbxs"); err != nil {
			return s.report, err
		}
		defer func() { _ = os.RemoveAll(dir) }() // the report is more important
	}
	err := s.run(ctx, dir)
	s.report.Errors, s.report.Failures = s.tally.errors(), s.tally.failures()
	return s.report, err
}

func (s *simulation) run(ctx context.Context, dir string) (err error) {
	if err := s.prepare(ctx, dir); err != nil {
		return err
	}
	if s.cloud != nil {
		defer s.cloud.Stop()
	}
	if s.Centre.URL != "" {
		if s.client, err = cloud.SignIn(ctx, s.Centre); err != nil {
			return &cli.Hint{Err: err, Hint: "--centre, --email and --password-file say where and who"}
		}
		defer s.client.Close()
		if s.live, err = s.client.Follow(ctx); err != nil {
			return err
		}
		defer s.live.Stop()
	}
	// Fleets end after the phases, or with the first error of their own.
	g, ctx := errgroup.WithContext(ctx)
	life, end := context.WithCancel(ctx)
	s.launch = func(f *fleet.Fleet) { g.Go(func() error { return f.Run(life) }) }
	g.Go(func() error {
		defer end()
		return s.phases(ctx)
	})
	return g.Wait()
}

// prepare makes or reads the certificates, and starts the cloud if it is our own.
func (s *simulation) prepare(ctx context.Context, dir string) (err error) {
	if !s.own() {
		s.certs = load.FromDir(s.CA, s.TrustDomain)
		return nil
	}
	certs := filepath.Join(dir, "certs")
	if err := s.makeCertificates(certs); err != nil {
		return err
	}
	s.cloud, err = cloud.Start(ctx, cloud.Config{
		Programs: s.Programs, Credentials: certs, TrustDomain: s.TrustDomain, Dir: filepath.Join(dir, "cloud"),
	})
	if err != nil {
		return err
	}
	s.Relay, s.Centre = s.cloud.Relay, s.cloud.Access
	return nil
}

// makeCertificates issues what a cloud of our own and its PBXs need. With a directory
// that is kept, the CA is forgotten and the certificates are not.
func (s *simulation) makeCertificates(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		s.certs = load.FromDir(dir, s.TrustDomain)
		_, err := s.certs.Serials(s.PBXs)
		if errors.Is(err, load.ErrTooFew) {
			err = &cli.Hint{Err: err, Hint: "a state directory keeps the PBXs that it was made with: take fewer, or another --state"}
		}
		return err
	}
	ca, err := pkitest.NewCA(s.TrustDomain)
	if err != nil {
		return err
	}
	s.certs = load.FromCA(ca, s.Seed)
	parts := cloud.Identities(s.TrustDomain)
	if s.State == "" {
		return load.WriteDir(dir, s.certs, 0, parts...)
	}
	s.Progress.Say("certificates of %d PBXs", s.PBXs)
	// A crash leaves all of them or none.
	fresh := dir + ".new"
	if err := errors.Join(os.RemoveAll(fresh), load.WriteDir(fresh, s.certs, s.PBXs, parts...), os.Rename(fresh, dir)); err != nil {
		return err
	}
	s.certs = load.FromDir(dir, s.TrustDomain)
	return nil
}

// credentials gives those of the good PBXs and of the hostile ones. A clone has those of
// a good one.
func (s *simulation) credentials() (good, bad []*enrol.Credentials, err error) {
	serials, err := s.certs.Serials(s.PBXs)
	if err != nil {
		return nil, nil, err
	}
	all := make([]*enrol.Credentials, s.PBXs)
	g := new(errgroup.Group)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, serial := range serials {
		g.Go(func() (err error) {
			all[i], err = s.certs.Credentials(identity.Device(s.TrustDomain, serial))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, fmt.Errorf("certificates of the PBXs: %w", err)
	}
	good, bad = all[:s.PBXs-s.hostile()], all[s.PBXs-s.hostile():]
	for i := range bad {
		k := s.Kinds[i%len(s.Kinds)]
		s.kinds = append(s.kinds, k)
		if k == KindClone {
			bad[i] = good[i%len(good)]
		}
	}
	return good, bad, nil
}

// phases are what happens, in order.
func (s *simulation) phases(ctx context.Context) error {
	before := ownUsage()
	good, bad, err := s.credentials()
	if err != nil {
		return err
	}
	if err := s.connect(ctx, good, before); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	if s.client != nil {
		g.Go(func() error { return s.pair(gctx) })
	}
	if len(bad) > 0 {
		g.Go(func() error { return s.attack(gctx, good, bad) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if s.Churn > 0 {
		if err := s.churn(ctx); err != nil {
			return err
		}
	}
	s.stay(ctx)
	s.finish(ctx, before)
	return ctx.Err()
}

// config is what all PBXs have in common.
func (s *simulation) config(creds []*enrol.Credentials) fleet.Config {
	return fleet.Config{
		Relays: []string{s.Relay}, Credentials: creds, Transport: s.Transport, Seed: s.Seed, Rate: s.Rate, Dialing: s.Dialing,
		PBX: pbx.Config{
			CallsPerDay: new(s.CallsPerDay), FirmwareKeys: s.Keys, Limits: pbx.Limits{Restart: s.Restart, Install: s.Install},
		},
	}
}

// connect starts the good PBXs and waits until all are online.
func (s *simulation) connect(ctx context.Context, creds []*enrol.Credentials, before load.Usage) (err error) {
	cfg := s.config(creds)
	if s.Faulty > 0 {
		cfg.Change = func(i int, c *pbx.Config) { c.Fault = s.fault(i) }
	}
	if s.State != "" {
		cfg.Dir = filepath.Join(s.State, "pbx")
	}
	s.Progress.Say("making %d PBXs", len(creds))
	if s.good, err = fleet.New(cfg); err != nil {
		return err
	}
	s.report.Restored = s.paired()
	begin := time.Now()
	s.launch(s.good)
	ctx2, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	line := func() string {
		c := s.good.Counts()
		return fmt.Sprintf("connecting: %d of %d PBXs online, %d failed attempts", c.Online, len(creds), total(c.Failed))
	}
	err = s.Progress.While(ctx2, line, func(ctx context.Context) error { return s.good.WaitOnline(ctx, len(creds)) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c := &Connect{Elapsed: time.Since(begin), Online: s.good.Online()}
	c.PerSecond = float64(c.Online) / c.Elapsed.Seconds()
	if err != nil {
		s.tally.failed("connect", fmt.Errorf("%d of %d PBXs are online after %s", c.Online, len(creds), s.Patience))
	}
	after := ownUsage()
	if after.RSS > before.RSS {
		c.PerPBX = (after.RSS - before.RSS) / uint64(len(creds)) //nolint:gosec // at least 1
	}
	c.RSS, c.CPU = after.RSS, after.CPU-before.CPU
	s.report.Connect = c
	return nil
}

// paired counts the good PBXs that are.
func (s *simulation) paired() (n int) {
	for _, p := range s.good.PBXs() {
		if p.State().Phase() == state.PhasePaired {
			n++
		}
	}
	return n
}

// finish looks at what there is in the end.
func (s *simulation) finish(ctx context.Context, before load.Usage) {
	end := &s.report.End
	end.Tunnels = s.good.Counts()
	fleets := []*fleet.Fleet{s.good}
	if s.bad != nil {
		fleets = append(fleets, s.bad)
	}
	now := time.Now()
	for _, f := range fleets {
		end.Online += f.Online()
		for _, p := range f.PBXs() {
			end.Pending += len(p.State().Offers)
			end.Calls += p.Calls(now)
		}
	}
	end.Paired = s.paired()
	if want := s.report.wantPaired(); end.Paired != want && ctx.Err() == nil {
		s.tally.failed("end", fmt.Errorf("%d PBXs are paired in the end, want %d", end.Paired, want))
	}
	if c := end.Tunnels; c.Online < c.PBXs-s.mayBeGone(c.PBXs) && ctx.Err() == nil {
		s.tally.failed("end", fmt.Errorf("%d of %d good PBXs are online in the end", c.Online, c.PBXs))
	}
	after := ownUsage()
	end.Own = Cost{RSS: after.RSS, CPU: after.CPU - before.CPU}
	if s.cloud == nil {
		return
	}
	if u, err := s.cloud.Usage(); err == nil { // not Linux
		end.Relay, end.Centre = &Cost{u.Relay.RSS, u.Relay.CPU}, &Cost{u.Centre.RSS, u.Centre.CPU}
	}
}

// ownUsage is what this process costs; zero where the system does not tell.
func ownUsage() load.Usage {
	u, err := load.ReadUsage(os.Getpid())
	if err != nil {
		return load.Usage{}
	}
	return u
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
