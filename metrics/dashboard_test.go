package metrics_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/metrics"
)

// dashboard is what the tests read of Grafana's format:
// https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Panels        []panel
	Templating    struct{ List []variable }
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  source
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		Expr       string
		Datasource source
	}
}

type variable struct {
	Name, Type string
	Query      any // depends on the type
	Definition string
}

type source struct{ Type, UID string }

const row = "row" // the type of a panel that is a heading

var (
	metricName = regexp.MustCompile(`\btenantry_[a-zA-Z0-9_]+`)
	selector   = regexp.MustCompile(`(tenantry_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"([^"]*)"`)
	grouping   = regexp.MustCompile(`by \(([^)]*)\) \((?:(?:rate|increase)\()?(tenantry_\w+)`)
	codeSpan   = regexp.MustCompile("`[^`\n]+`")
)

// TestTheDashboardShowsWhatThereIs compares docs/grafana.json with what a service
// exports: names of metrics, labels, and their values. The same for the page that
// describes them, which has those of each place, too.
func TestTheDashboardShowsWhatThereIs(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.signUp(t, unique("database"), catalog.OwnDatabase)
	for name, c := range map[string]struct {
		used []string
		opts []metrics.Option
	}{
		"dashboard": {expressions(t), s.options(metrics.WithServers())},
		"page":      {codeOfThePage(t), s.options(metrics.WithServers(), metrics.WithPlaces())},
	} {
		exported, used := labelsIn(scrape(t, collector(t, c.opts...))), map[string]bool{}
		for _, expr := range c.used {
			for _, name := range metricName.FindAllString(expr, -1) {
				used[name] = true
				if exported[name] == nil {
					t.Errorf("nobody exports %s: %s", name, expr)
				}
			}
			checkLabels(t, expr, exported)
		}
		for family := range exported {
			if !used[family] {
				t.Errorf("the %s doesn't show %s", name, family)
			}
		}
	}
}

// TestTheDashboardIsWellFormed looks at what Grafana would take without a word, and
// show wrongly or not at all.
func TestTheDashboardIsWellFormed(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.SchemaVersion < 36 || d.Title == "" || d.UID == "" { // 36: data sources have a type and a uid
		t.Errorf("schema version %d, title %q, uid %q", d.SchemaVersion, d.Title, d.UID)
	}
	if !slices.Contains(d.Templating.List, variable{Name: "datasource", Type: "datasource", Query: "prometheus"}) {
		t.Errorf("there is no data source to choose among %v", d.Templating.List)
	}
	units, ids, taken := []string{"none", "short", "ops", "s", "percentunit"}, map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q is there twice or has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for at := range p.GridPos.W * p.GridPos.H {
			cell := [2]int{p.GridPos.X + at%p.GridPos.W, p.GridPos.Y + at/p.GridPos.W}
			if other, ok := taken[cell]; ok || cell[0] >= 24 {
				t.Fatalf("%q is beyond the edge or lies upon %q", p.Title, other)
			}
			taken[cell] = p.Title
		}
		if p.Type == row {
			continue
		}
		if !slices.Contains(units, p.FieldConfig.Defaults.Unit) || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("%q has the unit %q, the description %q and %d targets", p.Title, p.FieldConfig.Defaults.Unit, p.Description, len(p.Targets))
		}
		checkTargets(t, p)
	}
}

func checkTargets(t *testing.T, p panel) {
	t.Helper()
	chosen := source{Type: "prometheus", UID: "${datasource}"}
	if p.Datasource != chosen {
		t.Errorf("%q takes %v", p.Title, p.Datasource)
	}
	for _, target := range p.Targets {
		if target.Datasource != chosen || !strings.Contains(target.Expr, `job=~"$job"`) || strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
			t.Errorf("%q: %v %s", p.Title, target.Datasource, target.Expr)
		}
		for _, name := range metricName.FindAllString(target.Expr, -1) {
			rated := strings.Contains(target.Expr, "rate("+name) || strings.Contains(target.Expr, "increase("+name)
			if rated != strings.HasSuffix(name, "_total") {
				t.Errorf("%q: counters have a rate, gauges have none: %s", p.Title, target.Expr)
			}
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func expressions(t *testing.T) (all []string) {
	t.Helper()
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	for _, v := range d.Templating.List {
		all = append(all, v.Definition)
	}
	if len(all) < 20 {
		t.Fatalf("the dashboard has only the expressions %q", all)
	}
	return all
}

// codeOfThePage returns what docs/observability.md has between backticks.
func codeOfThePage(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	return codeSpan.FindAllString(string(text), -1)
}

// labelsIn returns the values of each label of each metric.
func labelsIn(seen series) map[string]map[string][]string {
	all := map[string]map[string][]string{}
	for name := range seen {
		name, labels, _ := strings.Cut(name, "{")
		if all[name] == nil {
			all[name] = map[string][]string{}
		}
		for _, l := range matcher.FindAllStringSubmatch(labels, -1) {
			all[name][l[1]] = append(all[name][l[1]], l[2])
		}
	}
	return all
}

// checkLabels looks at the labels that expr names, beside those that Prometheus
// adds.
func checkLabels(t *testing.T, expr string, exported map[string]map[string][]string) {
	t.Helper()
	added := []string{"job", "instance"}
	for _, found := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
			if !slices.Contains(added, m[1]) && !slices.Contains(exported[found[1]][m[1]], m[2]) {
				t.Errorf("%s has no label %s=%q: %s", found[1], m[1], m[2], expr)
			}
		}
	}
	for _, found := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(found[1], ", ") {
			if !slices.Contains(added, label) && exported[found[2]][label] == nil {
				t.Errorf("%s has no label %s: %s", found[2], label, expr)
			}
		}
	}
}
