package daemon

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// LogsCommand makes "logs raw|stats|visitors|sweeps", with which operators read the
// program's access log, also while the program runs. load gives the configuration.
func LogsCommand(app *cli.App, load func() (Config, error)) *cobra.Command {
	l := &logs{app: app, load: load}
	group := &cobra.Command{
		Use:   "logs",
		Short: "Read the access log",
		Long: "Reads the access log, also while the program runs. Addresses can be read for\n" +
			"access_log.raw_for at most, 14 days at the latest; the statistics are anonymous and\n" +
			"are kept for ever.",
	}
	group.AddCommand(l.raw(), l.stats(), l.visitors(), l.sweeps())
	return group
}

type logs struct {
	app   *cli.App
	load  func() (Config, error)
	since time.Duration
}

// command makes one of the commands.
func (l *logs) command(c *cobra.Command, since time.Duration, run func(cmd *cobra.Command, r accesslog.Reader, from time.Time) error) *cobra.Command {
	name := l.app.Name()
	c.Args = cobra.NoArgs
	c.Example = fmt.Sprintf(c.Example, name)
	c.Flags().DurationVar(&l.since, "since", since, "how far to look back")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := l.load()
		if err != nil {
			return err
		}
		if cfg.AccessLog.Dir == "" {
			return &cli.Hint{Err: errors.New("no access log is kept"), Hint: "set access_log.dir", ExitCode: cli.ExitConfig}
		}
		err = run(cmd, accesslog.Reader{Dir: cfg.AccessLog.Dir}, time.Now().Add(-l.since))
		if errors.Is(err, fs.ErrNotExist) {
			err = &cli.Hint{Err: err, Hint: "the log is made when \"" + name + " serve\" runs with this configuration"}
		}
		return err
	}
	return c
}

func (l *logs) raw() *cobra.Command {
	var network accesslog.Network
	var wanted string
	c := l.command(&cobra.Command{
		Use:   "raw",
		Short: "Print accesses with their addresses",
		Long:  "Prints time, address, service and class of accesses; with --json one object a line.",
		Example: "  %[1]s logs raw --config /etc/%[1]s.yaml --since 1h\n" +
			"  %[1]s logs raw --class refused --network 198.51.100.0/24 --json",
	}, 24*time.Hour, func(cmd *cobra.Command, r accesslog.Reader, from time.Time) error {
		var class accesslog.Class
		if err := class.UnmarshalText([]byte(wanted)); wanted != "" && err != nil {
			return &cli.Hint{Err: err, Hint: "use ok, refused, limited or failed", ExitCode: cli.ExitUsage}
		}
		t := &cli.Table{Header: []string{"TIME", "ADDRESS", "SERVICE", "CLASS"}}
		encode := json.NewEncoder(cmd.OutOrStdout())
		for rec, err := range r.Raw(from, time.Time{}) {
			switch {
			case err != nil:
				return err
			case class != 0 && rec.Class != class, network.IsValid() && !network.Contains(rec.Address):
			case l.app.JSON:
				if err := encode.Encode(rec); err != nil {
					return err
				}
			default:
				t.Add(rec.Time.Format(time.RFC3339), rec.Address, rec.Service, rec.Class)
			}
		}
		if l.app.JSON {
			return nil
		}
		return t.Write(cmd.OutOrStdout())
	})
	c.Flags().TextVar(&network, "network", accesslog.Network{}, "only this `address or network`")
	c.Flags().StringVar(&wanted, "class", "", "only this `class`: ok, refused, limited or failed")
	return c
}

func (l *logs) stats() *cobra.Command {
	by := "hour"
	c := l.command(&cobra.Command{
		Use:   "stats",
		Short: "Print the anonymous counts of accesses by network and class",
		Long: "Prints how many accesses there were from each network. Those from networks with\n" +
			"too few of them, or too few addresses, are together in \"other\".",
		Example: "  %[1]s logs stats --config /etc/%[1]s.yaml --by day\n" +
			"  %[1]s logs stats --since 8760h --by month --json",
	}, 7*24*time.Hour, func(cmd *cobra.Command, r accesslog.Reader, from time.Time) error {
		layout, ok := map[string]string{"hour": "2006-01-02T15Z", "day": time.DateOnly, "month": "2006-01"}[by]
		if !ok {
			return &cli.Hint{Err: fmt.Errorf("--by %s", by), Hint: "use hour, day or month", ExitCode: cli.ExitUsage}
		}
		rows, err := sum(r, from, layout)
		if err != nil {
			return err
		}
		t := &cli.Table{Header: []string{"TIME", "SERVICE", "CLASS", "NETWORK", "ACCESSES"}}
		for _, s := range rows {
			t.Add(s.Time, s.Service, s.Class, s.Prefix, s.Count)
		}
		return l.app.Print(cmd, rows, t)
	})
	c.Flags().StringVar(&by, "by", by, "add up each `hour, day or month`")
	return c
}

// total is one row that "logs stats" prints.
type total struct {
	Time    string          `json:"time"`
	Service string          `json:"service"`
	Class   accesslog.Class `json:"class"`
	Prefix  string          `json:"prefix"`
	Count   uint64          `json:"count"`
}

// sum adds up the rows that have the same time in a layout.
func sum(r accesslog.Reader, from time.Time, layout string) ([]total, error) {
	counts := map[total]uint64{}
	for s, err := range r.Stats(from, time.Time{}) {
		if err != nil {
			return nil, err
		}
		counts[total{Time: s.Hour.Format(layout), Service: s.Service, Class: s.Class, Prefix: s.Prefix}] += s.Count
	}
	rows := make([]total, 0, len(counts))
	for t, n := range counts {
		t.Count = n
		rows = append(rows, t)
	}
	slices.SortFunc(rows, func(a, b total) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Class, b.Class), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Prefix, b.Prefix))
	})
	return rows, nil
}

func (l *logs) visitors() *cobra.Command {
	return l.command(&cobra.Command{
		Use:   "visitors",
		Short: "Print how many different addresses there were in each day",
		Long: "Prints the number of different addresses of each day. Several rows of one day are\n" +
			"from restarts. 0 is fewer than access_log.k.",
		Example: "  %[1]s logs visitors --config /etc/%[1]s.yaml --since 720h\n  %[1]s logs visitors --json",
	}, 31*24*time.Hour, func(cmd *cobra.Command, r accesslog.Reader, from time.Time) error {
		rows := []accesslog.Visitors{}
		t := &cli.Table{Header: []string{"DAY", "SERVICE", "VISITORS"}}
		for v, err := range r.Visitors(from, time.Time{}) {
			if err != nil {
				return err
			}
			rows = append(rows, v)
			t.Add(v.Day.Format(time.DateOnly), v.Service, v.Visitors)
		}
		return l.app.Print(cmd, rows, t)
	})
}

func (l *logs) sweeps() *cobra.Command {
	return l.command(&cobra.Command{
		Use:   "sweeps",
		Short: "Print what was deleted when, and check that no record of it is missing",
		Long: "Prints the records of deletions, which are a chain of hashes from the first one on,\n" +
			"and fails where one was changed or is missing.",
		Example: "  %[1]s logs sweeps --config /etc/%[1]s.yaml\n  %[1]s logs sweeps --since 8760h --json",
	}, 24*time.Hour, func(cmd *cobra.Command, r accesslog.Reader, from time.Time) error {
		rows := []accesslog.Sweep{}
		t := &cli.Table{Header: []string{"TIME", "SERVICE", "FOUND", "DELETED", "OLDEST", "NOTE"}}
		var broken error
		for s, err := range accesslog.Sweeps(r.Dir) {
			if broken = err; err != nil {
				break
			}
			if s.Time.Before(from) {
				continue
			}
			oldest := "-"
			if !s.Oldest.IsZero() {
				oldest = s.Oldest.Format(time.RFC3339)
			}
			rows = append(rows, s)
			t.Add(s.Time.Format(time.RFC3339), s.Service, s.Found, s.Deleted, oldest, s.Note)
		}
		return errors.Join(l.app.Print(cmd, rows, t), broken)
	})
}
