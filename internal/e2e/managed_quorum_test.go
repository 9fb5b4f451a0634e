package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestManagedQuorum takes a managed cluster its quorum, its processes and its addresses, under load. Each part ends with
// a whole cluster, on which the next one stands.
func TestManagedQuorum(t *testing.T) {
	c := startManagedHosts(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInsertsOn(ctx, t, c.Cluster, 4, c.clients, clientPatience)
	load.wantMore(t, 100)
	for _, f := range []struct {
		name  string
		fault func(t *testing.T, c *managedHosts, primary *testcluster.Node)
	}{
		{"Lost", loseQuorum},
		{"AllKilledPrimaryFirst", func(t *testing.T, c *managedHosts, primary *testcluster.Node) {
			killAll(t, c, append([]*testcluster.Node{primary}, c.Others(primary)...)...)
		}},
		{"AllKilledPrimaryLast", func(t *testing.T, c *managedHosts, primary *testcluster.Node) {
			killAll(t, c, append(c.Others(primary), primary)...)
		}},
		{"NewAddresses", func(t *testing.T, c *managedHosts, _ *testcluster.Node) { moveAll(t, c, load) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.In(t)
			reading, stop := context.WithCancel(ctx) // until the addresses change
			readers := startReaders(reading, t, c.Cluster)
			if f.name == "NewAddresses" {
				stop()
				readers.Wait()
			}
			begun := time.Now()
			f.fault(t, c, c.Primary())
			load.wantMore(t, 100)
			t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
			waitManaged(t, c.Cluster)
			stop()
			readers.Wait()
		})
	}
	cancel()
	load.verify(t, c.Cluster)
}

// loseQuorum takes a primary both of its standbys. It reads on, ends its sessions within the lease, and writes again by
// itself when they are back.
func loseQuorum(t *testing.T, c *managedHosts, primary *testcluster.Node) {
	t.Helper()
	others := c.Others(primary)
	idle, err := primary.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close(context.WithoutCancel(t.Context())) }()
	lost := time.Now()
	for _, n := range others {
		n.Host.Cut()
		t.Cleanup(n.Host.Mend)
	}
	wantCommitEnded(t, primary, "INSERT INTO journal VALUES (-1, 0)")
	t.Logf("a commit that waited ended %s after the quorum was lost", time.Since(lost).Round(time.Millisecond))
	wantReadOnly(t, primary)
	t.Logf("read-only %s after the quorum was lost", time.Since(lost).Round(time.Millisecond))
	if err := idle.Ping(t.Context()); err == nil {
		t.Error("a session from before is still there")
	}
	// A client may turn off what keeps it from writing. Its commit waits, and ends with an error all the same.
	begun := time.Now()
	wantCommitEnded(t, primary, "SET default_transaction_read_only = off", "INSERT INTO journal VALUES (-1, 1)")
	t.Logf("a commit of a client that insists ended in %s", time.Since(begun).Round(time.Millisecond))
	wantReadOnly(t, primary)

	for _, n := range others {
		n.Host.Mend()
	}
	mended := time.Now()
	testcluster.Eventually(t, 60*time.Second, func() error {
		return wantQuery(t.Context(), primary, "off", "SELECT current_setting('transaction_read_only')")
	})
	t.Logf("writable %s after the quorum was back", time.Since(mended).Round(time.Millisecond))
	if now := c.Primary(); now != primary {
		t.Errorf("%s is primary, and %s was fine", now.Name, primary.Name)
	}
	wantTold(t, primary, "read-only", primary.Name, "quorum")
	wantTold(t, primary, "writable", primary.Name)
	if _, err := execOn(t.Context(), primary, "DELETE FROM journal WHERE client = -1"); err != nil {
		t.Error(err)
	}
}

// wantCommitEnded runs statements of which the last can't be acknowledged: it must end with its session, soon, so that
// its client neither hangs nor takes it for done. A primary that is read-only already refuses it.
func wantCommitEnded(t *testing.T, n *testcluster.Node, statements ...string) {
	t.Helper()
	_, err := execOn(t.Context(), n, statements...)
	var pgErr *pgconn.PgError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		t.Errorf("%s: hangs", statements[len(statements)-1])
	case err == nil:
		t.Errorf("%s: acknowledged without a quorum", statements[len(statements)-1])
	case errors.As(err, &pgErr) && !strings.HasPrefix(pgErr.Code, "57P"):
		t.Errorf("%s: %v", statements[len(statements)-1], err)
	default:
		t.Logf("%s: %v", statements[len(statements)-1], err)
	}
}

// execOn runs statements over one connection from the node's own host.
func execOn(ctx context.Context, n *testcluster.Node, statements ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := n.Connect(ctx)
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", n.Name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var last pgconn.CommandTag
	for _, sql := range statements {
		if last, err = conn.Exec(ctx, sql); err != nil {
			return "", err
		}
	}
	return last.String(), nil
}

// killAll ends every process of every node, as the loss of power would, and starts the agents in an order. One node alone
// must not take writes.
func killAll(t *testing.T, c *managedHosts, order ...*testcluster.Node) {
	t.Helper()
	for _, n := range c.Nodes {
		killPID(t, n.Postmaster())
		c.KillAgent(n)
	}
	for i, n := range order {
		c.StartAgent(n)
		if i == 0 {
			refusesAlone(t, n)
		}
	}
}

// refusesAlone checks for a while that a node that is up alone lets nobody write.
func refusesAlone(t *testing.T, n *testcluster.Node) {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		err := wantQuery(t.Context(), n, "off", "SELECT current_setting('transaction_read_only')")
		if err == nil {
			t.Errorf("%s is writable, and alone", n.Name)
			return
		}
	}
}

// moveAll ends every process, gives each host another address, and starts the agents with configurations that name it.
func moveAll(t *testing.T, c *managedHosts, load *inserts) {
	t.Helper()
	for _, n := range c.Nodes {
		killPID(t, n.Postmaster())
		c.KillAgent(n)
	}
	for i, n := range c.Nodes {
		c.Move(n, fmt.Sprintf("10.231.7.%d", 101+i))
	}
	load.retarget(c.Cluster)
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
}
