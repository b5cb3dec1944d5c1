package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// barWidth is the length of the longest bar, in characters.
const barWidth = 40

func (p *program) expiryCommand() *cobra.Command {
	var by string
	var periods int
	cmd := &cobra.Command{
		Use:   "expiry",
		Short: "Forecast what expires, per day or week",
		Long: "Shows when roots and intermediates expire, and how many certificates do in each\n" +
			"of the next days or weeks. Numbers are those without a successor, which cut an\n" +
			"endpoint off unless it renews; the light part of a bar are those that have one.",
		Example: "  pki expiry\n  pki expiry --by week --periods 12 --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			const day = 24 * time.Hour
			length, ok := map[string]time.Duration{"day": day, "week": 7 * day}[by]
			if !ok || periods < 1 || periods > authority.MostPeriods {
				return &cli.Hint{
					Err:      fmt.Errorf("--by %s --periods %d", by, periods),
					Hint:     fmt.Sprintf("--by day or week, 1 to %d periods", authority.MostPeriods),
					ExitCode: cli.ExitUsage,
				}
			}
			admin, c, err := p.admin()
			if err != nil {
				return err
			}
			f, err := admin.Forecast(cmd.Context(), length, periods)
			if err != nil {
				return explain(err, c)
			}
			if p.JSON {
				return p.Print(cmd, f, nil)
			}
			if err := authorities(f, time.Now()).Write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
				return err
			}
			return chart(f).Write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&by, "by", "day", "`day` or week")
	cmd.Flags().IntVar(&periods, "periods", 31, "how `many` of them")
	return cmd
}

func authorities(f authority.Forecast, now time.Time) *cli.Table {
	t := &cli.Table{Header: []string{"AUTHORITY", "EXPIRES", "IN"}}
	for _, a := range f.Authorities {
		t.Add(a.Name, a.NotAfter.Local().Format(time.DateOnly), about(a.NotAfter.Sub(now)))
	}
	return t
}

// chart has a row for each period: the numbers without a successor by kind, and a
// bar of all.
func chart(f authority.Forecast) *cli.Table {
	var kinds []string
	for _, k := range profile.SignedKinds() {
		kinds = append(kinds, k.String())
	}
	most := 1
	for _, p := range f.Periods {
		open, replaced := totals(p)
		most = max(most, open+replaced)
		for k := range p.Kinds {
			if !slices.Contains(kinds, k) {
				kinds = append(kinds, k)
			}
		}
	}
	t := &cli.Table{Header: []string{"FROM"}}
	for _, k := range kinds {
		t.Header = append(t.Header, strings.ToUpper(k))
	}
	t.Header = append(t.Header, "")
	for _, p := range f.Periods {
		row := []any{p.Begin.Local().Format(time.DateOnly)}
		for _, k := range kinds {
			row = append(row, p.Kinds[k].Open)
		}
		open, replaced := totals(p)
		t.Add(append(row, strings.Repeat("█", scale(open, most))+strings.Repeat("░", scale(replaced, most)))...)
	}
	return t
}

func totals(p authority.Period) (open, replaced int) {
	for _, n := range p.Kinds {
		open += n.Open
		replaced += n.Replaced
	}
	return open, replaced
}

// scale gives the length of a bar; what is there is seen.
func scale(n, most int) int { return (n*barWidth + most - 1) / most }

// about gives a duration as people say it: "50 minutes", "3 days".
func about(d time.Duration) string {
	d = d.Abs()
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	for _, u := range []struct {
		unit, next time.Duration
		name       string
	}{{year, day, "year"}, {day, time.Hour, "day"}, {time.Hour, time.Minute, "hour"}, {time.Minute, time.Second, "minute"}} {
		// Up to two of a unit are better said in the next: 36 hours, 90 minutes.
		if d.Round(u.next) >= 2*u.unit {
			return fmt.Sprintf("%d %ss", (d+u.unit/2)/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d seconds", d.Round(time.Second)/time.Second)
}
