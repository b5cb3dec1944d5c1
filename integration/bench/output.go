package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/figure"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

// output are the flags that say what becomes of a report.
type output struct {
	out   string
	keep  string
	force bool
}

func (o *output) register(f *pflag.FlagSet) {
	f.StringVar(&o.out, "out", "", "write report.json, report.txt, bench.txt for benchstat, and figures to this `directory`")
	f.StringVar(&o.keep, "keep", "", "as --out, to a new directory in this `directory`, named after date, commit and machine")
	f.BoolVar(&o.force, "force", false, "report although the machine was too noisy, and say so in the report")
}

// finish applies the noise gate, and writes the files.
func (o *output) finish(r *score.Report, show func(io.Writer, *score.Report) error) (err error) {
	if err := score.Gate(r.Quiet); err != nil {
		if !o.force {
			return &cli.Hint{Err: err, Hint: "try again when the machine is quiet, or see the figures anyway with --force"}
		}
		r.Noisy = err.Error()
	}
	if o.out != "" {
		err = save(o.out, r, show)
	}
	if o.keep != "" {
		err = errors.Join(err, save(filepath.Join(o.keep, r.Name()), r, show))
	}
	return err
}

// save writes all files of a report.
func save(dir string, r *score.Report, show func(io.Writer, *score.Report) error) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	file := func(name string, write func(io.Writer) error) (err error) {
		f, err := os.Create(filepath.Join(dir, name)) //nolint:gosec // in the directory that the user named
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		return write(f)
	}
	return errors.Join(
		file("report.json", func(w io.Writer) error { return cli.WriteJSON(w, r) }),
		file("report.txt", func(w io.Writer) error { return show(w, r) }),
		file("bench.txt", r.WriteBench),
		figure.WriteAll(dir, r),
	)
}
