// Package rollout measures a change of the settings of many PBXs at once, in rings of which
// some fail. Relay and control centre are the real programs, in processes of their own; the
// PBXs are in this process, each with a certificate, a tunnel and settings of its own, and are
// paired as people do it. In the second ring and in the last one more of them refuse the
// change than the plan permits: the rollout halts, somebody lets it go on, and in the end all
// is set back. What the PBXs then have is looked at there.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Options say how much.
type Options struct {
	// PBXs are changed, in rings of one, of a tenth, and of all others.
	PBXs int
	// Faulty PBXs refuse the change in the second ring, and as many in the last one; one
	// less may. 0: none do, and nothing halts.
	Faulty int
	// Parallel is how many are changed at once.
	Parallel int
	// DatabaseURLFile holds the URL of an empty PostgreSQL database. Empty: SQLite.
	DatabaseURLFile string
	Programs        cloud.Programs
	Progress        *load.Progress
}

// MostPBXs is how many systems the API takes by their ids.
const MostPBXs = 1000

// Validate finds fault with numbers that do not go together.
func (o Options) Validate() error {
	switch {
	case o.PBXs < 10 || o.PBXs > MostPBXs:
		return fmt.Errorf("--pbxs is from 10 to %d", MostPBXs)
	case o.Faulty < 0 || o.Faulty >= o.tenth():
		return errors.New("--faulty is from 0 to less than a tenth of --pbxs")
	case o.Parallel < 1 || o.Parallel > 64:
		return errors.New("--parallel is from 1 to 64")
	}
	return nil
}

// tenth is the size of the second ring.
func (o Options) tenth() int { return (o.PBXs + 9) / 10 }

// faulty tells whether the i-th PBX refuses: those in the middle of each ring but the first.
func (o Options) faulty(i int) bool {
	tenth := o.tenth()
	second, third := i-1-(tenth-o.Faulty)/2, i-1-tenth-(o.PBXs-1-tenth-o.Faulty)/2
	return second >= 0 && second < o.Faulty || third >= 0 && third < o.Faulty
}

// td is the trust domain.
const td = identity.DefaultTrustDomain

func serial(i int) identity.Serial { return identity.Serial(fmt.Sprintf("%010d", 400_000_001+i)) }

// Measure runs everything once.
func Measure(ctx context.Context, o Options) (r Report, err error) {
	dir, err := os.MkdirTemp("", "rollout")
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
	r.Engine, r.PBXs, r.Faulty, r.Parallel = cfg.Store().Engine, o.PBXs, o.Faulty, o.Parallel
	s, err := cloud.Start(ctx, cfg)
	if err != nil {
		return r, err
	}
	defer s.Stop()
	f, err := o.fleet(ca, s.Relay)
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
	err = o.Progress.While(ctx, func() string { return fmt.Sprintf("%d of %d PBXs online", f.Online(), o.PBXs) }, func(ctx context.Context) error {
		return f.WaitOnline(ctx, o.PBXs)
	})
	if err != nil {
		return r, err
	}
	someone, err := cloud.SignIn(ctx, s.Access)
	if err != nil {
		return r, err
	}
	defer someone.Close()
	w := &work{Options: o, Client: someone, cloud: s, fleet: f, report: &r}
	return r, w.all(ctx)
}

// fleet makes the PBXs.
func (o Options) fleet(ca *pkitest.CA, relay string) (*fleet.Fleet, error) {
	o.Progress.Say("certificates of %d PBXs", o.PBXs)
	creds := make([]*enrol.Credentials, o.PBXs)
	for i := range creds {
		creds[i] = ca.Credentials(identity.Device(td, serial(i)))
	}
	return fleet.New(fleet.Config{
		Relays: []string{relay}, Credentials: creds, Transport: fleet.TransportMix,
		Change: func(i int, c *pbx.Config) {
			if o.faulty(i) {
				c.Fault = pbx.FaultRefuse
			}
		},
	})
}

// Report is what was measured. Times are in nanoseconds in JSON, memory in bytes.
type Report struct {
	Engine   store.Engine `json:"engine"`
	PBXs     int          `json:"pbxs"`
	Faulty   int          `json:"faulty"` // of the second ring, and of the last one
	Parallel int          `json:"parallel"`
	// Pairing is how long it took until all were paired.
	Pairing time.Duration `json:"pairing_ns"`
	// DryRun is how long it took to read all of them, and to have each try the change.
	DryRun time.Duration `json:"dry_run_ns"`
	Rings  []Ring        `json:"rings"`
	// Elapsed is from the start to the end, and Revert how long it took to set all back.
	Elapsed time.Duration `json:"elapsed_ns"`
	Revert  time.Duration `json:"revert_ns"`
	Halts   int           `json:"halts"`
	// Results are how many PBXs ended how: a state, and a code where there is one.
	Results map[string]int `json:"results"`
	// CentreCPU is what dry run, rollout and setting back took, RelayCPU the same at the
	// relay. CentreMemory is resident at the end.
	CentreCPU    time.Duration `json:"ccc_cpu_ns"`
	RelayCPU     time.Duration `json:"relay_cpu_ns"`
	CentreMemory uint64        `json:"ccc_memory"`
}

// Ring is one of them.
type Ring struct {
	Systems int `json:"systems"`
	// Elapsed is until its end, with the waits between tries of who refuses; Halted is
	// after how long it halted, 0: it did not.
	Elapsed time.Duration `json:"elapsed_ns"`
	Halted  time.Duration `json:"halted_ns,omitempty"`
}
