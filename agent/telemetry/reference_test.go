package telemetry_test

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/telemetry"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

var update = flag.Bool("update", false, "write the reference page")

const referencePage = "../../website/content/docs/reference/metrics.md"

// TestReferencePage writes what the registry says of each metric beside what an operator should look for.
func TestReferencePage(t *testing.T) {
	families := gather(t)
	var b strings.Builder
	b.WriteString(referenceIntro)
	for _, s := range referenceSections() {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | meaning | look for |\n|---|---|---|---|---|\n", s.title)
		for _, row := range s.rows {
			f, ok := families[row.name]
			if !ok {
				t.Errorf("%s stands in the reference and is no metric", row.name)
				continue
			}
			delete(families, row.name)
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n",
				row.name, f.kind, f.labels, f.help, row.lookFor)
		}
	}
	for name := range families {
		t.Errorf("%s lacks its place in the reference", name)
	}
	b.WriteString(referenceEnd)
	if *update {
		if err := os.WriteFile(referencePage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if string(page) != b.String() {
		t.Errorf("%s is not what the registry says: run make docs", referencePage)
	}
}

// family is one metric as the registry describes it.
type family struct{ kind, help, labels string }

// gather makes every metric of the agent's own exist and returns them by name.
func gather(t *testing.T) map[string]family {
	t.Helper()
	st := managedStatus()
	m, err := telemetry.New(telemetry.Config{
		Status: func() api.Status { return st }, Version: "v1",
		Applier: func() (fsm.ApplierStatus, bool) { return fsm.ApplierStatus{}, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Proposal("ok", time.Millisecond)
	m.Entry(1, 1, false, time.Millisecond)
	m.Refused("reason")
	m.ObserveHTTP("GET", "/v1/status")(200, time.Millisecond)
	if resp, err := m.RPCTransport("leader", fakeTransport{}).RoundTrip(httptest.NewRequest("GET", "/", nil)); err == nil {
		_ = resp.Body.Close()
	}
	if _, err := m.WALCollector(); err != nil {
		t.Fatal(err)
	}
	gathered, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]family{}
	for _, f := range gathered {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		if strings.HasPrefix(f.GetName(), "pgraft_") {
			slices.Sort(labels)
			families[f.GetName()] = family{strings.ToLower(f.GetType().String()), f.GetHelp(), strings.Join(labels, ", ")}
		}
	}
	return families
}
