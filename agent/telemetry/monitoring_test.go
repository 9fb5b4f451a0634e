package telemetry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// What `pgraft monitoring export` ships, which must speak of metrics that there are.
const (
	rulesFile     = "../../command/monitoring/rules.yml"
	dashboardFile = "../../command/monitoring/dashboard.json"
)

type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Alert, Expr string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func readRules(t *testing.T) []rule {
	t.Helper()
	content, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file ruleFile
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatalf("%s: %v", rulesFile, err)
	}
	var rules []rule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) < 20 {
		t.Fatalf("only %d rules", len(rules))
	}
	return rules
}

// unknown returns what an expression asks for that no agent and no Prometheus has: a metric, or a label of one.
func unknown(t *testing.T, families map[string]family, expr string) []string {
	t.Helper()
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			problems = append(problems, unknownSelector(families, selector)...)
		}
		return nil
	})
	return problems
}

func unknownSelector(families map[string]family, selector *parser.VectorSelector) []string {
	known := map[string]bool{model.MetricNameLabel: true, "job": true, "instance": true, "cluster": true}
	if selector.Name != "up" && !strings.HasPrefix(selector.Name, "process_") {
		f, ok := families[selector.Name]
		if !ok {
			f, ok = families[strings.TrimSuffix(selector.Name, "_bucket")]
			ok = ok && f.kind == "histogram"
		}
		if !ok {
			return []string{"there is no metric " + selector.Name}
		}
		for _, label := range strings.Split(f.labels, ", ") {
			known[strings.Trim(label, "`")] = true
		}
	}
	var problems []string
	for _, matcher := range selector.LabelMatchers {
		if !known[matcher.Name] {
			problems = append(problems, fmt.Sprintf("%s has no label %s", selector.Name, matcher.Name))
		}
	}
	return problems
}

// TestAlertRules parses each rule, and looks for what it asks for in the registry.
func TestAlertRules(t *testing.T) {
	families := gather(t)
	seen := map[string]bool{}
	for _, r := range readRules(t) {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Pgraft") {
			t.Errorf("alert %q: a name of its own that begins with Pgraft is wanted", r.Alert)
		}
		seen[r.Alert] = true
		for _, problem := range unknown(t, families, r.Expr) {
			t.Errorf("%s: %s: %s", r.Alert, r.Expr, problem)
		}
		if _, err := model.ParseDuration(r.For); r.For != "" && err != nil {
			t.Errorf("%s: for: %v", r.Alert, err)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || !strings.Contains(r.Annotations["description"], "`pgraft ") {
			t.Errorf("%s: a summary and a description with a command of pgraft are wanted: %v", r.Alert, r.Annotations)
		}
	}
	for _, want := range []string{
		"AgentDown", "NoLeader", "NoQuorum", "WorkerNotRunning", "NoPrimary", "PrimaryReadOnly", "StandbyLags", "ApplierLags", "Elections",
		"InDoubt", "SyncMembersMissing", "PostgresDown", "LogDisk", "CheckCritical", "SlowCommit", "GossipUnwell", "Paused",
	} {
		if !seen["Pgraft"+want] {
			t.Errorf("there is no alert Pgraft%s", want)
		}
	}
}

func TestUnknownMetricsAreFound(t *testing.T) {
	families := gather(t)
	for expr, want := range map[string]string{
		"sum(pgraft_nonsense) > 0": "no metric", `pgraft_nodes{color="red"}`: "no label", "sum(": "parse error", "pgraft_term_bucket": "no metric",
	} {
		if got := strings.Join(unknown(t, families, expr), "; "); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// TestDashboard parses each query of the Grafana dashboard, and sees that its panels don't lie on each other.
func TestDashboard(t *testing.T) {
	content, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal(content, &board); err != nil {
		t.Fatal(err)
	}
	families := gather(t)
	check := func(title, expr string) {
		expr = strings.ReplaceAll(expr, "$__rate_interval", "1m")
		for _, problem := range unknown(t, families, expr) {
			t.Errorf("%s: %s: %s", title, expr, problem)
		}
	}
	ids, cells := map[int]string{}, map[[2]int]string{}
	for _, p := range board.Panels {
		if other, taken := ids[p.ID]; taken {
			t.Errorf("%s and %s have the same id", p.Title, other)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
					t.Fatalf("%s lies on %s, or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	if len(ids) < 20 {
		t.Errorf("only %d panels", len(ids))
	}
	for _, a := range board.Annotations.List {
		check("annotation", a.Expr)
	}
}
