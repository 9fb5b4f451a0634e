package bench_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
)

// targets are the project's own, with what this run made of them.
type targets struct {
	mu   sync.Mutex // guards rows
	rows []targetRow
}

type targetRow struct {
	name, want, got string
	met             bool
}

// atLeast notes a figure that should be large.
func (t *targets) atLeast(name string, want, got float64, unit string) {
	t.add(name, "at least", want, got, unit, got >= want)
}

// below notes a figure that should be small.
func (t *targets) below(name string, want, got float64, unit string) {
	t.add(name, "under", want, got, unit, got < want)
}

// none notes something that should not happen.
func (t *targets) none(name string, got float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, targetRow{name, "none", amount(got, ""), got == 0})
}

func (t *targets) add(name, relation string, want, got float64, unit string, met bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, targetRow{name, relation + " " + amount(want, unit), amount(got, unit), met})
}

func amount(n float64, unit string) string {
	format := "%.0f %s"
	if n < 10 && n != float64(int(n)) {
		format = "%.2f %s"
	}
	return strings.TrimSpace(fmt.Sprintf(format, n, unit))
}

// print writes the table as lines that benchstat passes over.
func (t *targets) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(w, "\n# Targets (%d cores for servers and clients; load average now %s)\n", runtime.NumCPU(), strings.TrimSpace(string(load)))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		verdict := "met"
		if !r.met {
			verdict = "MISSED"
		}
		fmt.Fprintf(table, "# %s\t%s\t%s\t%s\n", r.name, r.want, r.got, verdict)
	}
	_ = table.Flush()
}
