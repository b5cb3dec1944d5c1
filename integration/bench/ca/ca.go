// Package ca compares certificate authorities: ours on each of its stores, a stock
// step-ca, and the cryptography alone.
//
//	report := &score.Report{…}
//	err := ca.Measure(ctx, ca.Options{Clients: 16, Certificates: 4000, Rounds: 3, Watch: watch, Progress: p}, report)
//
// # Works
//
// Each round starts every authority alone, in another order, and does with it:
//
//	start    from the start of the program to its answer to GET /healthz or /health, and
//	         to its first certificate; memory when it has nothing to do any more
//	issue16  sixteen clients, each with a TLS connection of its own that stays, send
//	         requests that were made before, each with one-time evidence for another
//	         device; memory after
//	crl      one more certificate is revoked: how long until the list has it, the size
//	         of the list, and what making it takes of memory
//
// With [Options].Stored, the first two are done again with a store of that many
// certificates, of which [Options].Revoked are revoked ("start-1000000",
// "issue16-1000000", "crl-10000"). The certificates of ours are issued in this process
// ("fill": how fast). In step-ca's store they are copies of real entries under other
// serial numbers, since its API takes one at a time.
//
// # Contestants
//
//	crypto       a request is read and its signature checked, a certificate is signed;
//	             on all processors
//	pki          pki serve with its store in a file (bbolt)
//	pki-postgres the same with its store in PostgreSQL, where a URL is given
//	step-ca      with a JWK provisioner and bbolt; no log of requests
//
// All sign with an intermediate for devices that "pki init" made: P-256, with name
// constraints, its key not encrypted, as the time of its decryption is not that of
// the store. Certificates are valid for 30 days. Both keep the default of waiting for the
// disk (fsync) with each commit. Limits per device and address are off.
//
// Programs are found by [process.Find]: PKI and STEP_CA, beside this program, and in
// PATH.
package ca

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// The contestants.
const (
	Crypto   = "crypto"
	Pki      = "pki"
	Postgres = "pki-postgres"
	StepCA   = "step-ca"
)

// Options of a run. Clients, Certificates, Rounds, Watch and Progress are needed.
type Options struct {
	// Clients send requests at the same time, Certificates is how many in each
	// round.
	Clients      int
	Certificates int
	Rounds       int
	// Stored is how many certificates the large store has, and Revoked how many of
	// them are revoked; 0: there is no large store.
	Stored  int
	Revoked int
	// Postgres is the URL of a database, which gets a schema for the time of the run;
	// empty: that contestant is left out.
	Postgres string
	// Stores is a directory that keeps the large stores, so that the next run needs
	// not fill them; empty: they are thrown away.
	Stores string
	// Watch does a part of the run and notes how quiet the machine was. others are
	// processes that work for the run besides the descendants of this one.
	Watch func(ctx context.Context, when string, others []int, f func(context.Context) error) error
	// Progress shows people what goes on.
	Progress *load.Progress
}

// runner is a run under way.
type runner struct {
	Options
	report  *score.Report
	dir     string // thrown away at the end
	devices []device
	// database is nil without PostgreSQL.
	database *database
}

// Measure measures, and adds to the report.
func Measure(ctx context.Context, o Options, report *score.Report) (err error) {
	r := &runner{Options: o, report: report}
	if r.dir, err = os.MkdirTemp("", "bench-ca"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	report.Subject = "CA"
	r.Progress.Say("making requests")
	// One for each certificate, and for the first of each start.
	if r.devices, err = makeDevices(o.Rounds * (o.Certificates + 1)); err != nil {
		return err
	}
	if o.Postgres != "" {
		if r.database, err = openDatabase(ctx, o.Postgres); err != nil {
			return fmt.Errorf("--postgres: %w", err)
		}
		defer func() { err = errors.Join(err, r.database.drop(context.WithoutCancel(ctx))) }()
	}
	small, large, err := r.contestants(ctx)
	if err != nil {
		return err
	}
	if err := r.rounds(ctx, small, ""); err != nil {
		return err
	}
	if o.Stored == 0 {
		return nil
	}
	if err := r.fill(ctx, large); err != nil {
		return err
	}
	return r.rounds(ctx, large, "-"+strconv.Itoa(o.Stored))
}

// contestants adds their rows to the report, and gives those that run: with an empty
// store each, and those that have a large one too.
func (r *runner) contestants(ctx context.Context) (small, large []*site, err error) {
	row := score.Contestant{Name: Crypto, Class: "floor", About: "reads a request, checks its signature, signs a certificate: P-256, on all processors"}
	r.report.Contestants = append(r.report.Contestants, row)
	for _, c := range []struct {
		name, class, about string
		make               func(ctx context.Context, dir string) (contestant, error)
		large              bool
	}{
		{Pki, "ours", "pki serve, store in a file (bbolt)", newPki, true},
		{Postgres, "ours", "pki serve, store in PostgreSQL", r.newPostgres, false},
		{StepCA, "peer", "stock, JWK provisioner, bbolt", newStep, true},
	} {
		row := score.Contestant{Name: c.name, Class: c.class, About: c.about}
		dir := filepath.Join(r.dir, c.name)
		contestant, err := c.make(ctx, dir)
		var missing missingError
		switch {
		case errors.As(err, &missing):
			row.Missing = missing.Error()
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", c.name, err)
		default:
			row.Version = contestant.version(ctx)
			small = append(small, &site{contestant: contestant, name: c.name})
		}
		if row.Missing == "" && c.large && r.Stored > 0 {
			contestant, err := c.make(ctx, filepath.Join(r.stores(), fmt.Sprintf("%s-%d-%d", c.name, r.Stored, r.Revoked)))
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", c.name, err)
			}
			large = append(large, &site{contestant: contestant, name: c.name})
		}
		r.report.Contestants = append(r.report.Contestants, row)
	}
	return small, large, nil
}

func (r *runner) stores() string {
	if r.Stores != "" {
		return r.Stores
	}
	return filepath.Join(r.dir, "stores")
}

// missingError says why a contestant cannot run here.
type missingError struct{ error }

// rounds measures the works with every site once a round. suffix names the size of the
// store.
func (r *runner) rounds(ctx context.Context, sites []*site, suffix string) error {
	r.report.Works = append(r.report.Works, r.work("issue", suffix), "start"+suffix)
	revoked := suffix != "" && r.Revoked > 0
	if revoked {
		r.report.Works = append(r.report.Works, r.crlWork())
	}
	for _, s := range sites {
		r.Progress.Say("evidence for %s%s", s.name, suffix)
		if err := s.evidence(ctx, r.devices); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	order := slices.Clone(sites)
	others := []int(nil)
	if r.database != nil && r.database.postmaster != 0 {
		others = append(others, r.database.postmaster)
	}
	for round := range r.Rounds {
		if round > 0 {
			slices.Reverse(order)
		}
		when := fmt.Sprintf("round %d%s", round+1, suffix)
		err := r.Watch(ctx, when, others, func(ctx context.Context) error {
			if suffix == "" {
				if err := r.floor(ctx, round); err != nil {
					return err
				}
			}
			for _, s := range order {
				r.Progress.Say("%s: %s", when, s.name)
				if err := r.visit(ctx, round, s, suffix, revoked); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
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

// work is the name of one with all clients.
func (r *runner) work(kind, suffix string) string { return kind + strconv.Itoa(r.Clients) + suffix }

func (r *runner) crlWork() string { return "crl-" + strconv.Itoa(r.Revoked) }

// add adds a cell. err is a failure of the contestant, which is a result.
func (r *runner) add(round int, name, work string, figures map[score.Metric]float64, errs int, first error) {
	c := score.Cell{Round: round + 1, Contestant: name, Work: work, Figures: figures, Errors: errs}
	if first != nil {
		c.Errors, c.First = max(errs, 1), first.Error()
	}
	r.report.Cells = append(r.report.Cells, c)
}
