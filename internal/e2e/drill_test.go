package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// drilled is what `pgraft drill failover -format=json` prints.
type drilled struct {
	Kind         string  `json:"kind"`
	OldPrimary   string  `json:"old_primary"`
	NewPrimary   string  `json:"new_primary"`
	Acknowledged int     `json:"acknowledged"`
	Lost         []int64 `json:"lost"`
	GapMS        int64   `json:"gap_ms"`
	Whole        bool    `json:"whole"`
	Missing      string  `json:"missing"`
	Steps        []struct{ Type, Node, Message string }
}

// TestDrill practises both ways of moving a primary on one cluster, and is refused where that would do harm.
func TestDrill(t *testing.T) {
	c := testcluster.Start(t, testcluster.Options{Managed: true})
	waitManaged(t, c)
	t.Run("Failover", func(t *testing.T) { drill(t, c, "fence", "promote", "ready", "report") })
	t.Run("Switchover", func(t *testing.T) { drill(t, c, "handover", "promote", "ready") })
	t.Run("Refused", func(t *testing.T) { drillRefused(t, c) })
	t.Run("Interrupted", func(t *testing.T) { drillInterrupted(t, c) })
	t.Run("Checklists", func(t *testing.T) { checklists(t, c) })
}

func drill(t *testing.T, c *testcluster.Cluster, steps ...string) {
	c.In(t)
	before := c.Primary()
	args := []string{"drill", "failover", "-yes", "-format=json"}
	if steps[0] == "handover" {
		args = append(args, "-switchover", "-dsn="+multiHost(c))
	}
	cmd := c.Command(t.Context(), c.Others(before)[0], args...)
	cmd.Env = append(cmd.Env, "PGUSER=postgres") // all else of how to connect comes from the cluster
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	var got drilled
	if jsonErr := json.Unmarshal(out, &got); err != nil || jsonErr != nil {
		t.Fatalf("%v, %v: %s%s", err, jsonErr, out, complaint.Bytes())
	}
	t.Logf("%s", out)
	if got.OldPrimary != before.Name || got.NewPrimary == before.Name || !got.Whole || got.Missing != "" || len(got.Lost) > 0 || got.Acknowledged < 100 {
		t.Errorf("%+v", got)
	}
	if got.GapMS <= 0 || got.GapMS > 10_000 {
		t.Errorf("a gap of %d ms", got.GapMS)
	}
	for _, want := range steps {
		found := false
		for _, s := range got.Steps {
			found = found || s.Type == want
		}
		if !found {
			t.Errorf("no step %s: %+v", want, got.Steps)
		}
	}
	after := c.Primary()
	if after.Name != got.NewPrimary {
		t.Errorf("the primary is %s, the drill says %s", after.Name, got.NewPrimary)
	}
	wantRow(t, before, "SELECT pg_is_in_recovery(), status FROM pg_stat_wal_receiver", "t|streaming")
	wantRow(t, after, "SELECT count(*) FROM pg_class WHERE relname LIKE '%drill%'", "0")
}

// drillInterrupted presses Ctrl-C in the midst of a drill: the table goes all the same.
func drillInterrupted(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	const there = "SELECT count(*) FROM pg_class WHERE relname = 'pgraft_drill'"
	primary := c.Primary()
	cmd := c.Command(t.Context(), primary, "drill", "failover", "-yes", "-dsn="+multiHost(c))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wantRow(t, primary, there, "1")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted drill says that it succeeded")
	}
	wantRow(t, c.Primary(), there, "0")
	waitManaged(t, c)
}

// drillRefused asks for drills that must not begin: nothing changes, and the reason is told.
func drillRefused(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	primary := c.Primary()
	standby := c.Others(primary)[0]
	epoch := statusOf(t, c, primary).Epoch
	dsn := "-dsn=" + multiHost(c)
	refused := func(want string, args ...string) {
		t.Helper()
		if out, code := c.Run(primary, append([]string{"drill", "failover"}, args...)...); code != 1 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("%v: exit code %d, want %q: %s", args, code, want, out)
		}
	}
	refused("not confirmed: nothing was changed", dsn)
	refused("there is no node pg9", "pg9", "-yes", dsn)
	refused(primary.Name+" is the primary already", primary.Name, "-yes", dsn)
	refused("connect to the primary", "-yes", "-dsn=host=127.0.0.1 port=1 user=postgres")
	psql(t, primary, "CREATE TABLE pgraft_drill ()")
	refused("there is a table pgraft_drill already", "-yes", dsn)
	psql(t, primary, "DROP TABLE pgraft_drill")
	psql(t, primary, "CREATE ROLE nobody LOGIN")
	refused("Let the role create tables", "-yes", "-dsn="+strings.Replace(multiHost(c), "postgres@", "nobody@", 1))
	if _, err := order(t, c, primary, "pause"); err != nil {
		t.Error(err)
	}
	refused("failover is paused", "-yes", dsn)
	if _, err := order(t, c, primary, "resume"); err != nil {
		t.Error(err)
	}
	c.Freeze(standby)
	wantStatus(t, c, primary, func(s api.Status) string {
		for _, n := range s.Nodes {
			if n.Name == standby.Name && n.Status == api.NodeAlive {
				return standby.Name + " is alive"
			}
		}
		return ""
	})
	refused(standby.Name+" is failed", "-yes", dsn)
	c.Continue(standby)
	waitManaged(t, c)
	if now := statusOf(t, c, primary).Epoch; now != epoch {
		t.Errorf("epoch %d became %d", epoch, now)
	}
}

// checklists prints each list on the whole cluster: nothing is to be looked at but what this test did.
func checklists(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	for which, mayLook := range map[string][]string{
		"daily":   {"events of the day", "health checks", "cluster status"},
		"weekly":  {"events of the week", "room on disks", "clocks"},
		"monthly": {"speed of disks", "fit of settings"},
	} {
		text, code := c.Run(c.Nodes[1], "checklist", which)
		if code != 0 {
			t.Errorf("%s: exit code %d", which, code)
		}
		t.Log(text)
		out, code := c.Run(c.Nodes[1], "checklist", which, "-format=json")
		var list struct {
			Items []struct {
				Item, Status string
				Measured     []string
			}
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Items) < 7 {
			t.Fatalf("%v: %s", err, out)
		}
		for _, i := range list.Items {
			if i.Status == "look" && !strings.Contains(strings.Join(mayLook, ","), i.Item) {
				t.Errorf("%s: %+v", which, i)
			}
		}
	}
}
