package figure

import (
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
)

// Point is a figure, Y, of something of a size, X, both in the units of the axes.
type Point struct{ X, Y float64 }

// Line is a figure over sizes, each above 0 and in ascending order.
type Line struct {
	Name   string
	Points []Point
}

// FileName is the name, without its ending, of the file that [WriteAll] draws a
// metric to; empty where it draws none.
func FileName(m score.Metric) string {
	for _, f := range figures() {
		if f.metric == m {
			return f.file
		}
	}
	return ""
}

// growthGroups is how wide a figure of growth is, see save.
const growthGroups = 5

// WriteGrowth draws a metric over sizes, on a logarithmic axis whose unit is sizes.
// Without any point it writes nothing.
func WriteGrowth(path string, m score.Metric, sizes string, lines []Line) error {
	if !slices.ContainsFunc(lines, func(l Line) bool { return len(l.Points) > 0 }) {
		return nil
	}
	p := plot.New()
	for _, f := range figures() {
		if f.metric == m {
			p.Title.Text = f.title
		}
	}
	p.X.Label.Text, p.Y.Label.Text = sizes, string(m)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min = 0
	p.Legend.Top = true
	for i, l := range lines {
		xys := make(plotter.XYs, len(l.Points))
		for j, pt := range l.Points {
			if pt.X <= 0 {
				return fmt.Errorf("figure %s: size %v of %s, want more than 0", path, pt.X, l.Name)
			}
			xys[j] = plotter.XY(pt)
		}
		if len(xys) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(xys)
		if err != nil {
			return errors.Join(fmt.Errorf("figure %s", path), err)
		}
		line.Color, dots.Color = plotutil.Color(i), plotutil.Color(i)
		p.Add(line, dots)
		p.Legend.Add(l.Name, line, dots)
	}
	p.Y.Min = 0
	if p.X.Min == p.X.Max { // one size: a logarithmic axis needs a width
		p.X.Min, p.X.Max = p.X.Min/2, p.X.Max*2
	}
	return save(path, p, growthGroups)
}
