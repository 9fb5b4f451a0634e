package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/docs"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestOperationsPages does on one cluster what the pages of operations say, as they say it, while clients write: every
// block of shell and SQL on them.
func TestOperationsPages(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{Managed: true})
	waitManaged(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInserts(ctx, t, c, 2)
	for _, name := range []string{"health-checks", "maintenance", "tuning", "production"} {
		t.Run(name, func(t *testing.T) {
			c.In(t)
			startAt(t, c, c.Nodes[0])
			began := make(map[string]int)
			for _, n := range c.Nodes {
				began[n.Name] = postmasterOf(t, n)
			}
			p := &pageRun{Cluster: c, page: operationsPage(t, name), node: c.Nodes[0]}
			p.run(t)
			load.wantMore(t, 20)
			waitManaged(t, c)
			for _, n := range c.Nodes {
				if name == "maintenance" && postmasterOf(t, n) == began[n.Name] {
					t.Errorf("after the page, the PostgreSQL of %s still is the one from before", n.Name)
				}
			}
		})
	}
	t.Run("script", func(t *testing.T) { c.In(t); monitoringScript(t, c) })
	cancel()
	load.verify(t, c)
}

// monitoringScript runs the script of the page on monitoring. It tells of what happens, and goes on without PostgreSQL.
func monitoringScript(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	var script strings.Builder
	for _, line := range operationsPage(t, "monitoring").Lines {
		if line.Code && line.Lang == "bash" {
			script.WriteString(line.Text + "\n")
		}
	}
	n := c.Others(c.Primary())[0]
	at := []string{"PGHOST=" + n.Postgres.Host, fmt.Sprintf("PGPORT=%d", n.Postgres.Port)}
	says := startScript(t, script.String(), at...)
	says("|" + statusOf(t, c, n).State + "|")
	for _, step := range []struct{ verb, says string }{{"pause", "\nprimary|WARNING|"}, {"resume", ""}} {
		if out, err := order(t, c, n, step.verb); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		says(step.says)
	}
	startScript(t, script.String(), at[0], "PGPORT=1")("postgres|CRITICAL|psql gets no answer")
}

// startScript runs a script until the test ends, and returns what waits until it has said something.
func startScript(t *testing.T, script string, env ...string) (says func(want string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Env = append(append(os.Environ(), "INTERVAL=0.2", "PGUSER=postgres", "PGDATABASE=postgres"), env...)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait(); _ = out.Close() })
	return func(want string) {
		t.Helper()
		testcluster.Eventually(t, 20*time.Second, func() error {
			text, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(text), want) {
				err = fmt.Errorf("the script has not said %q, but:\n%s", want, text)
			}
			return err
		})
	}
}

// startAt makes a node the primary, as the pages assume.
func startAt(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	if c.Primary() != n {
		if out, err := order(t, c, n, "switchover", n.Name, "-yes"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	waitManaged(t, c)
}

func operationsPage(t *testing.T, name string) docs.Page {
	t.Helper()
	pages, err := docs.Read(filepath.Join("..", "..", "website"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if strings.HasSuffix(p.Path, "operations/"+name+".md") {
			return p
		}
	}
	t.Fatalf("no page %s", name)
	return docs.Page{}
}

// pageRun runs a page's commands on the node that its comments name.
type pageRun struct {
	*testcluster.Cluster
	page docs.Page
	node *testcluster.Node
}

func (p *pageRun) run(t *testing.T) {
	t.Helper()
	begun, commands := time.Now(), 0
	for _, line := range p.page.Lines {
		if !line.Code || line.Text == "" {
			continue
		}
		switch line.Lang {
		case "sh":
			commands++
			p.shell(t, line)
		case "sql":
			commands++
			if out, err := tryPsql(t, p.Primary(), line.Text); err != nil {
				t.Errorf("%s:%d: %v: %s", p.page.Path, line.Number, err, out)
			}
		}
		if t.Failed() {
			t.FailNow() // what follows stands on it
		}
	}
	t.Logf("%d lines in %s", commands, time.Since(begun).Round(time.Millisecond))
	if commands < 8 {
		t.Errorf("only %d lines were run", commands)
	}
}

func (p *pageRun) shell(t *testing.T, line docs.Line) {
	t.Helper()
	text, _, _ := strings.Cut(line.Text, " #")
	words := strings.Fields(text)
	switch {
	case strings.HasPrefix(line.Text, "# on "):
		for _, n := range p.Nodes {
			if line.Text == "# on "+n.Name {
				p.node = n
				return
			}
		}
		t.Errorf("%s:%d: no such node: %s", p.page.Path, line.Number, line.Text)
	case text == "systemctl restart pgraft":
		p.TerminateAgent(p.node)
		p.StartAgent(p.node)
	case words[0] == "pgraft":
		p.verb(t, line, words[1:])
	default:
		t.Errorf("%s:%d: nobody runs this: %s", p.page.Path, line.Number, line.Text)
	}
}

// verb runs a verb of the page, with this cluster's places in the place of those there.
func (p *pageRun) verb(t *testing.T, line docs.Line, args []string) {
	t.Helper()
	places := strings.NewReplacer("/etc/pgraft.d", p.node.Config, "/tmp/", filepath.Dir(p.node.DataDir)+string(os.PathSeparator))
	for i := range args {
		args[i] = places.Replace(args[i])
	}
	if slices.Contains([]string{"drill", "restart", "switchover"}, args[0]) {
		waitManaged(t, p.Cluster) // who types is slower than this test
	}
	if args[0] == "drill" {
		args = append(args, "-dsn="+multiHost(p.Cluster)) // in the place of PGUSER
	}
	var out string
	testcluster.Eventually(t, 60*time.Second, func() error {
		var err error
		out, err = pgraft(t, p.Cluster, p.node, args...)
		switch {
		case err == nil:
		case strings.Contains(out, "no leader"), strings.Contains(out, "not the leader"), strings.Contains(out, "quorum is lost"):
			return err // leadership follows the primary, a moment later
		default:
			t.Errorf("%s:%d: %v", p.page.Path, line.Number, err)
		}
		return nil
	})
	if strings.TrimSpace(out) == "" && args[0] != "wait" {
		t.Errorf("%s:%d: %s prints nothing", p.page.Path, line.Number, fmt.Sprint(args))
	}
}
