package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
	"github.com/pgraft/pgraft/postgres/wal"
)

// managedHosts is a managed cluster on hosts of its own, with one more host for the clients.
type managedHosts struct {
	*testcluster.Cluster
	clients *testcluster.Host
}

func startManagedHosts(t *testing.T) *managedHosts {
	t.Helper()
	network := testcluster.NewNetwork(t, 4)
	c := testcluster.Custom(t)
	for i, host := range network.Hosts[:3] {
		var join []*testcluster.Node
		for _, other := range network.Hosts[:3] {
			join = append(join, &testcluster.Node{Gossip: other.IP}) // the default port
		}
		c.Add(testcluster.Spec{Name: fmt.Sprintf("n%d", i+1), Host: host, Expect: 3, Join: join, Managed: true})
	}
	for _, n := range c.Nodes {
		c.StartAgent(n)
	}
	waitManaged(t, c)
	return &managedHosts{c, network.Hosts[3]}
}

// clientPatience is how long a client waits for an answer before it takes the server for gone.
const clientPatience = 2 * time.Second

// TestManagedPartition pulls cables of a managed cluster under load. Each part ends with a whole cluster, on which the
// next one stands.
func TestManagedPartition(t *testing.T) {
	c := startManagedHosts(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := startInsertsOn(ctx, t, c.Cluster, 4, c.clients, clientPatience)
	readers := startReaders(ctx, t, c.Cluster)
	load.wantMore(t, 100)
	for _, f := range []struct {
		name  string
		fault func(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node)
		moves bool // another node is the primary afterwards
	}{
		{"FromAll", partFromAll, true},
		{"FromOneStandby", partFromOne, false},
		{"FromClients", partFromClients, false},
		{"Unheard", partUnheard, true},
		{"Deaf", partDeaf, true},
		{"TwoFailovers", failTwice, true},
		{"UnacknowledgedOnOldPrimary", unacknowledged, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.In(t)
			before := c.Primary()
			begun := time.Now()
			f.fault(t, c, load, before)
			load.wantMore(t, 100)
			t.Logf("longest gap between two acknowledged inserts: %s", load.gap(begun).Round(time.Millisecond))
			waitManaged(t, c.Cluster)
			if after := c.Primary(); (after != before) != f.moves {
				t.Errorf("primary was %s and is %s", before.Name, after.Name)
			}
		})
	}
	cancel()
	readers.Wait()
	load.verify(t, c.Cluster)
}

// partFromAll cuts the primary off from everyone: the others go on, and its own sessions end.
func partFromAll(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	claims := watchWritable(ctx, c.Nodes)
	cut := time.Now()
	primary.Host.Cut()
	t.Cleanup(primary.Host.Mend)
	tookOver(t, c, primary, cut)
	load.wantMore(t, 100)
	wantReadOnly(t, primary)
	cancel()
	spans := claims()
	before := spans[primary.Name]
	for name, span := range spans {
		t.Logf("%s was writable from %s to %s after the cut", name, span[0].Sub(cut).Round(time.Millisecond), span[1].Sub(cut).Round(time.Millisecond))
		if name != primary.Name && span[0].Before(before[1]) {
			t.Errorf("%s was writable while %s was", name, primary.Name)
		}
	}
	primary.Host.Mend()
}

// watchWritable asks every node over and over whether it would take a write. The result is when each first said so, and
// when it was last asked and said so.
func watchWritable(ctx context.Context, nodes []*testcluster.Node) (claims func() map[string][2]time.Time) {
	var mu sync.Mutex
	spans := make(map[string][2]time.Time)
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
				asked := time.Now()
				if wantQuery(ctx, n, "off", "SELECT current_setting('transaction_read_only')") != nil {
					continue
				}
				mu.Lock()
				span := spans[n.Name]
				if span[0].IsZero() {
					span[0] = time.Now()
				}
				span[1] = asked
				spans[n.Name] = span
				mu.Unlock()
			}
		})
	}
	return func() map[string][2]time.Time { wg.Wait(); return spans }
}

// tookOver waits for another primary than the one that was lost at a time.
func tookOver(t *testing.T, c *managedHosts, lost *testcluster.Node, at time.Time) {
	t.Helper()
	next := c.Primary(c.Others(lost)...)
	t.Logf("%s took over from %s in %s", next.Name, lost.Name, time.Since(at).Round(time.Millisecond))
}

// wantReadOnly waits until a node that can't reach the others refuses to write, and still reads.
func wantReadOnly(t *testing.T, n *testcluster.Node) {
	t.Helper()
	testcluster.Eventually(t, 10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		conn, err := n.Connect(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		var rows int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM journal").Scan(&rows); err != nil || rows == 0 {
			return fmt.Errorf("read on %s: %d rows, %w", n.Name, rows, err)
		}
		if _, err := conn.Exec(ctx, "INSERT INTO journal VALUES (-1, -1)"); err == nil || ctx.Err() != nil {
			return fmt.Errorf("write on %s: %w", n.Name, err)
		}
		return nil
	})
}

// partFromOne cuts the primary off from one standby: the other one suffices, and nothing moves.
func partFromOne(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node) {
	t.Helper()
	lone := c.Others(primary)[0]
	primary.Host.Part(lone.Host)
	t.Cleanup(func() { primary.Host.Join(lone.Host) })
	awhile(t, load, 5*time.Second)
	primary.Host.Join(lone.Host)
}

// awhile waits for a time in which a wrong decision would be made, and for inserts in it.
func awhile(t *testing.T, load *inserts, d time.Duration) {
	t.Helper()
	until := time.Now().Add(d)
	for time.Now().Before(until) {
		load.wantMore(t, 10)
		time.Sleep(100 * time.Millisecond)
	}
}

// partFromClients cuts the primary off from its clients only: it is none of the cluster's business.
func partFromClients(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node) {
	t.Helper()
	primary.Host.Part(c.clients)
	t.Cleanup(func() { primary.Host.Join(c.clients) })
	time.Sleep(3 * time.Second) // long enough for a failover, if there were one
	if s := statusOf(t, c.Cluster, primary); s.Role != "primary" {
		t.Errorf("%s is %s, and only clients can't reach it", primary.Name, s.Role)
	}
	primary.Host.Join(c.clients)
}

// partUnheard loses what the primary sends to the standbys: they must take over.
func partUnheard(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node) {
	t.Helper()
	oneWay(t, c, load, primary, func(other *testcluster.Node, lost bool) {
		if lost {
			primary.Host.Block(other.Host)
		} else {
			primary.Host.Unblock(other.Host)
		}
	})
}

// partDeaf loses what the standbys send to the primary: its WAL arrives, and no acknowledgement.
func partDeaf(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node) {
	t.Helper()
	oneWay(t, c, load, primary, func(other *testcluster.Node, lost bool) {
		if lost {
			other.Host.Block(primary.Host)
		} else {
			other.Host.Unblock(primary.Host)
		}
	})
}

func oneWay(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node, set func(other *testcluster.Node, lost bool)) {
	t.Helper()
	others := c.Others(primary)
	cut := time.Now()
	for _, other := range others {
		set(other, true)
		t.Cleanup(func() { set(other, false) })
	}
	tookOver(t, c, primary, cut)
	load.wantMore(t, 100)
	wantReadOnly(t, primary)
	for _, other := range others {
		set(other, false)
	}
}

// failTwice takes the primary away, and the next one as soon as it writes, while the first is not back yet.
func failTwice(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node) {
	t.Helper()
	primary.Host.Cut()
	t.Cleanup(primary.Host.Mend)
	second := c.Primary(c.Others(primary)...)
	load.wantMore(t, 1)
	// Two of three make a quorum: the first must be back for the third to take over.
	killPID(t, second.Postmaster())
	c.KillAgent(second)
	primary.Host.Mend()
	third := c.Primary(c.Others(second)...)
	t.Logf("%s, %s and %s were primary", primary.Name, second.Name, third.Name)
	load.wantMore(t, 100)
	c.StartAgent(second)
}

// hidden is the client number of rows that are never acknowledged, and hiddenRows how many there are.
const (
	hidden     = -2
	hiddenRows = 5
)

// unacknowledged has a primary that is alone commit rows that no standby gets, and kills it before it can tell anyone.
// When it is back, a restart would show them: nobody may see them, they go, and the history says so.
func unacknowledged(t *testing.T, c *managedHosts, load *inserts, primary *testcluster.Node) {
	t.Helper()
	c.Freeze(primary) // else it would end the sessions within its lease
	primary.Host.Cut()
	t.Cleanup(primary.Host.Mend)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range hiddenRows {
		go func() { _ = insertHidden(ctx, primary, i) }()
	}
	testcluster.Eventually(t, 20*time.Second, func() error {
		return wantQuery(ctx, primary, fmt.Sprint(hiddenRows),
			"SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'INSERT INTO journal%-2%'")
	})
	killPID(t, primary.Postmaster())
	c.KillAgent(primary)
	c.Primary(c.Others(primary)...)
	load.wantMore(t, 10)

	shown := watchHidden(ctx, primary)
	primary.Host.Mend()
	c.StartAgent(primary)
	waitManaged(t, c.Cluster)
	cancel()
	if err := <-shown; err != nil {
		t.Error(err)
	}
	wantDiscarded(t, c, primary)
}

func insertHidden(ctx context.Context, n *testcluster.Node, i int) error {
	conn, err := n.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, fmt.Sprintf("INSERT INTO journal VALUES (%d, %d)", hidden, i), pgx.QueryExecModeSimpleProtocol)
	return err
}

// watchHidden reads on a node whenever it lets clients in, until ctx ends. Its error is a row that nobody may see.
func watchHidden(ctx context.Context, n *testcluster.Node) <-chan error {
	result := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			err := wantQuery(ctx, n, "0", fmt.Sprintf("SELECT count(*) FROM journal WHERE client = %d", hidden))
			if other := (*otherAnswer)(nil); errors.As(err, &other) {
				result <- err
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
		result <- nil
	}()
	return result
}

// otherAnswer is a query's answer that was not the wanted one.
type otherAnswer struct{ node, sql, got, want string }

func (e *otherAnswer) Error() string {
	return fmt.Sprintf("%s on %s: got %q, want %q", e.sql, e.node, e.got, e.want)
}

// wantQuery asks a node, from its own host, for one value.
func wantQuery(ctx context.Context, n *testcluster.Node, want, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := n.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var got string
	if err := conn.QueryRow(ctx, "SELECT ("+sql+")::text").Scan(&got); err != nil {
		return err
	}
	if got != want {
		return &otherAnswer{n.Name, sql, got, want}
	}
	return nil
}

// wantDiscarded checks that the history, over HTTP and in SQL, has the range of WAL that a node threw away last.
func wantDiscarded(t *testing.T, c *managedHosts, n *testcluster.Node) {
	t.Helper()
	var last api.Event
	testcluster.Eventually(t, 20*time.Second, func() error {
		events, err := eventsOf(t.Context(), n)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Type == "discarded" && e.Node == n.Name {
				last = e
			}
		}
		if last.Index == 0 {
			return fmt.Errorf("no event tells what %s threw away", n.Name)
		}
		return nil
	})
	t.Logf("%s %v", last.Message, last.Data)
	from, err1 := wal.ParseLSN(last.Data["from"])
	to, err2 := wal.ParseLSN(last.Data["to"])
	if err1 != nil || err2 != nil || from == 0 || to <= from {
		t.Errorf("%s threw away WAL from %q to %q: %v, %v", n.Name, last.Data["from"], last.Data["to"], err1, err2)
	}
	for _, node := range c.Nodes {
		testcluster.Eventually(t, 20*time.Second, func() error {
			return wantQuery(t.Context(), node, last.Message, fmt.Sprintf("SELECT message FROM pgraft.event WHERE index = %d", last.Index))
		})
	}
}

// eventsOf returns the whole history as a node has it.
func eventsOf(ctx context.Context, n *testcluster.Node) ([]api.Event, error) {
	a, err := ask(ctx, n, "GET", "/v1/events?limit=0", "")
	if err != nil {
		return nil, err
	}
	var events []api.Event
	if err := json.Unmarshal([]byte(a.body), &events); err != nil {
		return nil, fmt.Errorf("%d %s: %w", a.code, a.body, err)
	}
	return events, nil
}
