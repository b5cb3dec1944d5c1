// Package figure draws a report: one SVG for each metric, with a group of bars for
// each contestant and a bar for each work. A bar is a median, the line over it the
// range of the rounds.
package figure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

// figures are what is drawn: a file's name, the metric, and a title.
func figures() []struct {
	file   string
	metric score.Metric
	title  string
} {
	return []struct {
		file   string
		metric score.Metric
		title  string
	}{
		{"bulk", score.Bits, "Throughput"},
		{"rate", score.Rate, "Requests and new connections per second"},
		{"latency", score.P99, "99th percentile"},
		{"cpu-bulk", score.CPUByte, "CPU of relay or server for each GB"},
		{"cpu-rate", score.CPUOp, "CPU of relay or server for each request or connection"},
		{"idle", score.IdleConn, "Memory of an idle connection in relay or server"},
		{"accepts", score.Accepts, "Full handshakes with client certificate"},
		{"tunnels", score.TunnelMemory, "Memory of an idle tunnel in the relay"},
		{"heartbeats", score.IdleCPU, "CPU of the relay for each idle tunnel, with its heartbeats"},
		{"storm", score.Storm, "All tunnels back after kill -9 of the relay"},
		{"bystanders", score.StormP99, "99th percentile of other tunnels' calls in a storm, times as long"},
		{"certificates", score.Certs, "Certificates per second"},
		{"cpu-certificate", score.CPUCert, "CPU of the server for each certificate"},
		{"start", score.StartUp, "From the start of the program to its first answer"},
	}
}

// WriteAll writes the figures that the report has data for to a directory.
func WriteAll(dir string, r *score.Report) error {
	for _, f := range figures() {
		if err := Write(filepath.Join(dir, f.file+".svg"), r, f.metric, f.title); err != nil {
			return err
		}
	}
	return nil
}

// Write writes the figure of one metric, if the report has data for it.
func Write(path string, r *score.Report, m score.Metric, title string) error {
	p, groups, err := bars(r, m, title)
	if err != nil {
		return fmt.Errorf("figure %s: %w", path, err)
	}
	if groups == 0 {
		return nil
	}
	return save(path, p, groups)
}

const (
	groupWidth vg.Length = 70 // points
	height     vg.Length = 300
)

func save(path string, p *plot.Plot, groups int) (err error) {
	c := vgsvg.New(groupWidth*vg.Length(groups+3), height)
	p.Draw(draw.New(c))
	f, err := os.Create(path) //nolint:gosec // in the directory that the user named
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = c.WriteTo(f)
	return err
}

// bars draws a metric; groups is how many contestants have it.
func bars(r *score.Report, m score.Metric, title string) (p *plot.Plot, groups int, err error) {
	var names, works []string
	for _, c := range r.Contestants {
		for _, w := range r.Works {
			if score.Of(r.Cells, c.Name, w, m).N > 0 {
				names = append(names, c.Name)
				break
			}
		}
	}
	for _, w := range r.Works {
		for _, name := range names {
			if score.Of(r.Cells, name, w, m).N > 0 {
				works = append(works, w)
				break
			}
		}
	}
	if len(names) == 0 {
		return nil, 0, nil
	}
	p = plot.New()
	p.Title.Text = title
	p.Y.Label.Text = string(m)
	p.Y.Min = 0
	p.Legend.Top = true
	p.NominalX(names...)
	width := groupWidth * 0.8 / vg.Length(len(works))
	for i, w := range works {
		offset := (float64(i) - float64(len(works)-1)/2) * 0.8 / float64(len(works))
		values, ranges := make(plotter.Values, len(names)), yRange{}
		for x, name := range names {
			s := score.Of(r.Cells, name, w, m)
			values[x] = s.Median
			if s.N > 1 {
				ranges.XYs = append(ranges.XYs, plotter.XY{X: float64(x) + offset, Y: s.Median})
				ranges.YErrors = append(ranges.YErrors, struct{ Low, High float64 }{s.Median - s.Min, s.Max - s.Median})
			}
		}
		bar, err := plotter.NewBarChart(values, width*0.9)
		if err != nil {
			return nil, 0, err
		}
		bar.LineStyle.Width, bar.Color = 0, plotutil.SoftColors[i%len(plotutil.SoftColors)]
		bar.XMin = offset
		p.Add(bar)
		p.Legend.Add(w, bar)
		if len(ranges.XYs) == 0 {
			continue
		}
		lines, err := plotter.NewYErrorBars(ranges)
		if err != nil {
			return nil, 0, err
		}
		p.Add(lines)
	}
	return p, len(names), nil
}

// yRange is what plotter.NewYErrorBars takes.
type yRange struct {
	plotter.XYs
	plotter.YErrors
}
