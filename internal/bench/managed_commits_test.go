package bench_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// commitRounds is how often each load is run with agents, and as often without.
const commitRounds = 6

// commits compares the rate of commits on the cluster with that on the same three servers while no agent runs. A stopped
// agent leaves PostgreSQL serving, with the settings that it has. The two take turns, in both orders, since the machine's
// speed is not the same from one minute to the next.
func commits(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	prepareTPCB(b, c)
	primary := c.Primary()
	execute(b, connect(b, primary), "CREATE TABLE IF NOT EXISTS bench_inserts (client int, number int, filler text)")
	inserts := filepath.Join(b.TempDir(), "insert.sql")
	if err := os.WriteFile(inserts, []byte("INSERT INTO bench_inserts VALUES (:client_id, 1, 'some text of some length')\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	loads := []*commitLoad{}
	for _, clients := range []int{1, 16, 64} {
		loads = append(loads,
			&commitLoad{name: "tpcb", clients: clients},
			&commitLoad{name: "insert", clients: clients, args: []string{"-f", inserts}})
	}
	for round := range fromEnv(b, envRounds, commitRounds) {
		for _, agents := range []bool{round%2 == 0, round%2 != 0} {
			runAgents(b, c, agents)
			for _, load := range loads {
				load.run(b, primary, agents)
			}
		}
	}
	runAgents(b, c, true)
	var all []float64
	for _, load := range loads {
		b.Run(fmt.Sprintf("%s-clients=%d", load.name, load.clients), load.report)
		all = append(all, math.Log(median(load.ratios())))
	}
	sum := 0.0
	for _, ratio := range all {
		sum += ratio
	}
	report.atLeast("commits against no agents, geometric mean of all loads", 0.97, math.Exp(sum/float64(len(all))), "")
}

// agentsSettle is how long the cluster is left alone after its agents came or went: agents that have just started catch up
// with the log and make checkpoints, which slows the writes after them.
const agentsSettle = 5 * time.Second

// commitLoad is one load and the rates that it had, in the order of the rounds.
type commitLoad struct {
	name          string
	clients       int
	args          []string
	with, without []float64
}

var tpsLine = regexp.MustCompile(`tps = ([0-9.]+) \(without initial connection time\)`)

func (l *commitLoad) run(b *testing.B, primary *testcluster.Node, agents bool) {
	b.Helper()
	conn := connect(b, primary)
	execute(b, conn, "TRUNCATE bench_inserts")
	execute(b, conn, "CHECKPOINT")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args := append([]string{"-n", "-M", "prepared", "-c", strconv.Itoa(l.clients), "-j", strconv.Itoa(min(l.clients, 2)),
		"-T", strconv.Itoa(int(measureTime.Seconds()))}, l.args...)
	out, err := exec.CommandContext(ctx, "pgbench", append(args, primary.DSN())...).CombinedOutput()
	m := tpsLine.FindSubmatch(out)
	if err != nil || m == nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	tps, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	if agents {
		l.with = append(l.with, tps)
	} else {
		l.without = append(l.without, tps)
	}
}

// ratios are the rates with agents as parts of those without, round by round.
func (l *commitLoad) ratios() (all []float64) {
	for i := range min(len(l.with), len(l.without)) {
		all = append(all, l.with[i]/l.without[i])
	}
	return all
}

func (l *commitLoad) report(b *testing.B) {
	ratios := l.ratios()
	ratio := median(ratios) // which orders them
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(l.with), "tps")
	b.ReportMetric(median(l.without), "alone-tps")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(ratios[0], "min-ratio")
	b.ReportMetric(ratios[len(ratios)-1], "max-ratio")
	report.atLeast(fmt.Sprintf("commits against no agents, %s, %d clients", l.name, l.clients), 0.97, ratio, "")
}

// runAgents starts all agents or stops them, as an operator does.
func runAgents(b *testing.B, c *testcluster.Cluster, run bool) {
	b.Helper()
	for _, n := range c.Nodes {
		switch {
		case run && !isAlive(n.AgentPID):
			c.StartAgent(n)
		case !run && isAlive(n.AgentPID):
			c.TerminateAgent(n)
		}
	}
	if run {
		waitManaged(b, c)
	}
	pause(context.Background(), agentsSettle)
}
