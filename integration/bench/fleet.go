package main

import (
	"context"
	"fmt"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/fleet"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

// bystanders is how many other devices are called while the fleet comes back.
const bystanders = 50

// fleet measures many tunnels, with program sim and against what their
// cryptography costs alone.
func (r *runner) fleet(ctx context.Context) error {
	r.report.Works = append([]string{score.Fleet}, r.report.Works...)
	r.report.Devices = r.devices
	return r.watched(ctx, "fleet", func(ctx context.Context) error {
		var floors fleet.Floors
		if err := floors.Add(ctx); err != nil {
			return err
		}
		for _, t := range []struct{ transport, name string }{{"tcp", score.FleetTCP}, {"quic", score.FleetQUIC}} {
			row := score.Contestant{Name: t.name, Class: "fleet", About: fmt.Sprintf("ours: %d devices over %s, one relay", r.devices, t.transport)}
			path, err := fleet.FindSim()
			if err != nil {
				row.Missing = err.Error()
				r.report.Contestants = append(r.report.Contestants, row)
				continue
			}
			row.Version = configs.Version()
			r.progress.Say("%d devices over %s", r.devices, t.transport)
			figures, failures, err := fleet.Measure(ctx, path, fleet.Options{
				Devices: r.devices, Transport: t.transport, Heartbeat: r.heartbeat, Idle: r.idle, Bystanders: bystanders,
			})
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil: // e.g. too few open files for so many
				row.Missing = err.Error()
				r.report.Contestants = append(r.report.Contestants, row)
			default:
				r.add(row, figures, failures...)
			}
			if err := floors.Add(ctx); err != nil {
				return err
			}
		}
		floor := floors.Mean()
		r.add(score.Contestant{Name: score.CryptoFloor, Class: "floor", About: "the public-key operations of a relay's mTLS handshake, P-256"},
			map[score.Metric]float64{score.Accepts: floor.Crypto})
		r.add(score.Contestant{Name: score.TLSFloor, Class: "floor", About: "the server's side of crypto/tls with the same certificates"},
			map[score.Metric]float64{score.Accepts: floor.TLS})
		return nil
	})
}

// add adds a contestant with its one cell.
func (r *runner) add(c score.Contestant, figures map[score.Metric]float64, failures ...string) {
	r.report.Contestants = append(r.report.Contestants, c)
	cell := score.Cell{Round: 1, Contestant: c.Name, Work: score.Fleet, Figures: figures, Errors: len(failures)}
	if len(failures) > 0 {
		cell.First = failures[0]
	}
	r.report.Cells = append(r.report.Cells, cell)
}
