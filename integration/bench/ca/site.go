package ca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

// contestant is an authority with its store on disk. Its methods are called one after
// the other; fill, evidence and size while it does not run.
type contestant interface {
	version(ctx context.Context) string
	// dir is the directory that has all of it.
	dir() string
	// fill puts certificates into the store, of which the first are revoked. It
	// counts them, and gives how many were issued in a second; 0: they are copies.
	fill(ctx context.Context, certificates, revoked int, count *atomic.Int64) (perSecond float64, err error)
	// evidence prepares for one certificate for each of the devices.
	evidence(ctx context.Context, devices []device) error
	// size is that of the store in bytes; 0: it is not in a file.
	size() (int64, error)

	// command gives the program that serves at an address, and what a client has to
	// know of it.
	command(address string) (*exec.Cmd, error)
	client() (*tls.Config, error)
	health() string // path
	// ask gives path and body of the request for a device's certificate. It is
	// called before its time is measured.
	ask(d device) (path string, body []byte, err error)
	// answer finds the certificate in the answer, as PEM text that begins with it.
	answer(body []byte) ([]byte, error)
	// revoke revokes a certificate, and returns when a new list has been made.
	revoke(ctx context.Context, s *instance, leaf *x509.Certificate) error
	crl() string // path of the list of devices
	// backend gives the processes that serve it besides its own; 0: none.
	backend() int
}

// site is a contestant in the run.
type site struct {
	contestant
	name   string
	filled filled
}

// filled tells what was put into a large store.
type filled struct {
	Certificates int     `json:"certificates"`
	Revoked      int     `json:"revoked"`
	Bytes        int64   `json:"bytes"`
	PerSecond    float64 `json:"certificates_per_second"` // issued while filling; 0: they are copies
}

// filledFile marks a store that has been filled, in the contestant's directory.
const filledFile = "filled.json"

// fill fills the large stores that are not there from an earlier run.
func (r *runner) fill(ctx context.Context, sites []*site) error {
	const work = "fill"
	r.report.Works = append(r.report.Works, work)
	for _, s := range sites {
		if err := r.fillOne(ctx, s); err != nil {
			return fmt.Errorf("fill the store of %s: %w", s.name, err)
		}
		if s.filled.PerSecond > 0 {
			r.add(0, s.name, work, map[score.Metric]float64{score.Certs: s.filled.PerSecond}, 0, nil)
		}
	}
	return nil
}

func (r *runner) fillOne(ctx context.Context, s *site) error {
	path := filepath.Join(s.dir(), filledFile)
	text, err := os.ReadFile(path) //nolint:gosec // our own
	if err == nil {
		return json.Unmarshal(text, &s.filled)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f := filled{Certificates: r.Stored, Revoked: r.Revoked}
	var count atomic.Int64
	line := func() string { return fmt.Sprintf("%s: %d certificates of %d", s.name, count.Load(), r.Stored) }
	err = r.Progress.While(ctx, line, func(ctx context.Context) (err error) {
		f.PerSecond, err = s.fill(ctx, r.Stored, r.Revoked, &count)
		return err
	})
	if err != nil {
		return err
	}
	if f.Bytes, err = s.size(); err != nil {
		return err
	}
	s.filled = f
	text, err = json.Marshal(f)
	return errors.Join(err, os.WriteFile(path, text, 0o600))
}
