package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const (
	plotWidth  = 20 * vg.Centimeter
	plotHeight = 12 * vg.Centimeter
)

// plotAll draws a plot for each workload, delay and number of workers: the ratio of time
// to plain GORM over the number of tenants.
func (r *runner) plotAll() error {
	for _, delay := range r.delays {
		for _, workers := range r.workers {
			for _, w := range r.workloads {
				if err := r.plotTime(delay, workers, w); err != nil {
					return fmt.Errorf("bench: plot: %w", err)
				}
			}
		}
	}
	return nil
}

func (r *runner) plotTime(delay time.Duration, workers int, w workload) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s: time against plain GORM, %s round trip, %d workers", w.title, delay, workers)
	if w.zipf {
		p.Title.Text = fmt.Sprintf("%s: time against plain GORM, %s round trip, %d workers", w.name, delay, workers)
	}
	p.X.Label.Text, p.Y.Label.Text = "tenants", "times plain GORM"
	p.Add(plotter.NewGrid())
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(1)
	p.Title.Padding = vg.Points(6)
	var all plotter.XYs
	for i, k := range r.kinds {
		points := r.points(k, func(c cell) bool { return c.delay == delay && c.workers == workers && c.workload.name == w.name })
		if err := addLine(p, i, k.title, points); err != nil {
			return err
		}
		all = append(all, points...)
	}
	if len(all) == 0 {
		return nil // the run was interrupted before
	}
	logarithmic(p, all)
	name := fmt.Sprintf("time-%s-%s-%dworkers.svg", w.name, delay, workers)
	return p.Save(plotWidth, plotHeight, filepath.Join(r.out, name))
}

// logarithmic sets both axes: gonum would begin at 0 where all values are the same, and panic. Above
// is room for the legend.
func logarithmic(p *plot.Plot, all plotter.XYs) {
	left, right, low, high := plotter.XYRange(all)
	p.X.Min, p.X.Max = left/1.5, right*1.5
	p.Y.Min, p.Y.Max = min(0.5, low), 4*high
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(ticks125)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(ticks125)
}

// points are a pattern's ratios over the tenants that it could serve.
func (r *runner) points(k kind, in func(cell) bool) (points plotter.XYs) {
	for _, res := range r.results {
		i := slices.IndexFunc(res.rows, func(row row) bool { return row.kind.name == k.name })
		if i < 0 || !in(res.cell) {
			continue
		}
		if ratio := res.rows[i].figure("time_us").ratio.median; ratio > 0 {
			points = append(points, plotter.XY{X: float64(res.rows[i].tenants), Y: ratio})
		}
	}
	return points
}

func addLine(p *plot.Plot, number int, title string, points plotter.XYs) error {
	if len(points) == 0 {
		return nil
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, dots.Color = plotutil.Color(number), plotutil.Color(number)
	line.Dashes, dots.Shape = plotutil.Dashes(number/4), plotutil.Shape(number)
	line.Width = vg.Points(1.5)
	p.Add(line, dots)
	p.Legend.Add(title, line, dots)
	return nil
}

// ticks125 are 1, 2, 5 and their powers of ten, or the powers alone if they are many.
func ticks125(low, high float64) (ticks []plot.Tick) {
	steps := []float64{1, 2, 5}
	if high/low > 1000 {
		steps = steps[:1]
	}
	for exponent := -2; math.Pow10(exponent) <= high; exponent++ {
		for _, n := range steps {
			if v := n * math.Pow10(exponent); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
			}
		}
	}
	return ticks
}

// plotMemory draws the memory of all backends over the statements.
func (r *runner) plotMemory(runs []*longRun) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("memory of %d backends, %d tenants", r.conns, len(r.all))
	p.X.Label.Text, p.Y.Label.Text = "statements", "MB"
	p.Y.Min = 0
	p.Add(plotter.NewGrid())
	p.Legend.Top, p.Legend.Left = true, true
	for i, run := range runs {
		if err := addLine(p, i, run.name, run.course()); err != nil {
			return err
		}
	}
	return p.Save(plotWidth, plotHeight, filepath.Join(r.out, "memory.svg"))
}

// course is the memory in MB over the statements.
func (l *longRun) course() (points plotter.XYs) {
	done := 0
	for _, s := range l.samples {
		done += s.statements
		points = append(points, plotter.XY{X: float64(done), Y: float64(s.memory) / 1e6})
	}
	return points
}
