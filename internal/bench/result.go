package main

// result is what a cell has shown.
type result struct {
	cell   cell
	rows   []row // plain GORM first
	absent []absence
}

// row is one pattern in a cell.
type row struct {
	kind    kind
	tenants int // as many as the pattern could serve
	units   int // of all rounds together
	figures []figure
}

// figure is one metric of a row.
type figure struct {
	metric metric
	value  float64
	ratio  spread // to the limit, which is plain GORM but with -greedy
	rounds []float64
}

func newResult(c cell, f *field, samples [][]sample, metrics []metric) result {
	r := result{cell: c, absent: f.absent}
	for i, one := range f.runners {
		r.rows = append(r.rows, newRow(one, samples[i], samples[0], metrics))
	}
	return r
}

// newRow compares rounds of c with those that are the limit.
func newRow(c *competitor, rounds, limit []sample, metrics []metric) row {
	r := row{kind: c.kind, tenants: len(c.tenants)}
	for _, s := range rounds {
		r.units += s.units
	}
	for _, m := range metrics {
		f := figure{metric: m, value: m.value(rounds), ratio: m.ratio(rounds, limit)}
		for _, s := range rounds {
			f.rounds = append(f.rounds, m.of(s))
		}
		r.figures = append(r.figures, f)
	}
	return r
}

// figure returns a metric by its name.
func (r row) figure(name string) figure {
	for _, f := range r.figures {
		if f.metric.name == name {
			return f
		}
	}
	return figure{}
}
