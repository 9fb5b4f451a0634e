package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// inserts is a load on a managed cluster and what its clients were told: each inserts rows of its own through a
// multi-host connection string, as an application would.
type inserts struct {
	host     *testcluster.Host // where the clients are, nil = on this machine
	patience time.Duration     // of a client with one insert
	pause    time.Duration     // of a client after each insert

	mu    sync.Mutex // guards what follows
	dsn   string
	acks  []ack
	doubt map[row2]bool
	last  error
	wg    sync.WaitGroup
}

// row2 names a row: the client's number and the row's.
type row2 struct{ client, number int }

// ack is an insert that was acknowledged, by which server, and between which times.
type ack struct {
	row         row2
	server      string
	begun, done time.Time
}

// multiHost is the connection string with which a client finds the primary.
func multiHost(c *testcluster.Cluster) string {
	var hosts []string
	for _, n := range c.Nodes {
		if n.Postgres.Port != 0 {
			hosts = append(hosts, net.JoinHostPort(n.Postgres.Host, fmt.Sprint(n.Postgres.Port)))
		}
	}
	return fmt.Sprintf("postgres://postgres@%s/postgres?target_session_attrs=read-write&connect_timeout=2&sslmode=disable", strings.Join(hosts, ","))
}

// startInserts begins the load; it ends with ctx.
func startInserts(ctx context.Context, t *testing.T, c *testcluster.Cluster, clients int) *inserts {
	t.Helper()
	return startInsertsOn(ctx, t, c, clients, nil, 30*time.Second)
}

// startInsertsOn begins the load with clients on a host of their own, who give a server up that does not answer in time.
func startInsertsOn(ctx context.Context, t *testing.T, c *testcluster.Cluster, clients int, host *testcluster.Host, patience time.Duration) *inserts {
	t.Helper()
	in := &inserts{dsn: multiHost(c), doubt: make(map[row2]bool), host: host, patience: patience}
	if host != nil {
		in.pause = 5 * time.Millisecond // what is tested there is not speed, and takes long
	}
	testcluster.Eventually(t, 30*time.Second, func() error { return in.createTable(ctx) })
	for client := range clients {
		in.wg.Go(func() { in.run(ctx, client) })
	}
	return in
}

func (in *inserts) createTable(ctx context.Context) error {
	cfg, err := in.config()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "DROP TABLE IF EXISTS journal; CREATE TABLE journal (client int, number int, PRIMARY KEY (client, number))")
	return err
}

// config is how the clients connect now.
func (in *inserts) config() (*pgx.ConnConfig, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	cfg, err := pgx.ParseConfig(in.dsn)
	if err == nil && in.host != nil {
		cfg.DialFunc = in.host.Dial
	}
	return cfg, err
}

// retarget gives the clients the addresses that the nodes have now.
func (in *inserts) retarget(c *testcluster.Cluster) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dsn = multiHost(c)
}

func (in *inserts) run(ctx context.Context, client int) {
	number := 0
	for ctx.Err() == nil {
		if err := in.session(ctx, client, &number); err != nil && ctx.Err() == nil {
			in.mu.Lock()
			in.last = err
			in.mu.Unlock()
			time.Sleep(5 * time.Millisecond) // a server that refuses does so at once
		}
	}
}

// session inserts over one connection until something fails. The row of a failed insert is never tried again: each row
// is sent once, so that one that is there twice, or was never sent, was invented.
func (in *inserts) session(ctx context.Context, client int, number *int) error {
	open, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cfg, err := in.config()
	if err != nil {
		return err
	}
	warned := false // a commit whose wait for the standbys was cut short is answered with a warning, and not acknowledged
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { warned = warned || n.Severity == "WARNING" }
	conn, err := pgx.ConnectConfig(open, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	server := conn.PgConn().Conn().RemoteAddr().String()
	for ctx.Err() == nil {
		r := row2{client, *number}
		*number++
		begun := time.Now()
		err := insert(ctx, conn, r, in.patience)
		if err != nil || warned {
			in.failed(r, err)
			return err
		}
		in.mu.Lock()
		in.acks = append(in.acks, ack{r, server, begun, time.Now()})
		in.mu.Unlock()
		time.Sleep(in.pause)
	}
	return nil
}

func insert(ctx context.Context, conn *pgx.Conn, r row2, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := conn.Exec(ctx, "INSERT INTO journal VALUES ($1, $2)", r.client, r.number)
	return err
}

// failed notes whether the row may be there all the same. An error that PostgreSQL reports is definite, unless it ended
// the session, which may have been waiting for the standbys.
func (in *inserts) failed(r row2, err error) {
	var pgErr *pgconn.PgError
	definite := errors.As(err, &pgErr) && !strings.HasPrefix(pgErr.Code, "57P")
	in.mu.Lock()
	defer in.mu.Unlock()
	if !definite {
		in.doubt[r] = true
	}
}

// count returns how many inserts were acknowledged.
func (in *inserts) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.acks)
}

// wantMore waits until more inserts are acknowledged, by a server that may not be the one it was.
func (in *inserts) wantMore(t *testing.T, more int) {
	t.Helper()
	from := in.count()
	testcluster.Eventually(t, 60*time.Second, func() error {
		if now := in.count(); now < from+more {
			in.mu.Lock()
			defer in.mu.Unlock()
			return fmt.Errorf("%d inserts acknowledged, want %d more than %d; last error: %w", now, more, from, in.last)
		}
		return nil
	})
}

// gap returns the longest time without an acknowledged insert after since.
func (in *inserts) gap(since time.Time) time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	var times []time.Time
	for _, a := range in.acks {
		if a.done.After(since.Add(-time.Second)) {
			times = append(times, a.done)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}

// verify waits for the clients, whose context has ended, and compares every node's rows with what they were told:
// nothing acknowledged is lost, nothing is invented, and no two servers acknowledged side by side.
func (in *inserts) verify(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	in.wg.Wait()
	t.Logf("%d inserts acknowledged, %d in doubt", len(in.acks), len(in.doubt))
	in.oneAtATime(t)
	for _, n := range c.Nodes {
		if n.Postgres.Port != 0 {
			testcluster.Eventually(t, 90*time.Second, func() error { return in.compare(t.Context(), n) })
		}
	}
}

func (in *inserts) compare(ctx context.Context, n *testcluster.Node) error {
	conn, err := n.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, "SELECT client, number FROM journal")
	if err != nil {
		return err
	}
	there := make(map[row2]bool)
	var r row2
	if _, err := pgx.ForEachRow(rows, []any{&r.client, &r.number}, func() error { there[r] = true; return nil }); err != nil {
		return err
	}
	return in.diff(n.Name, there)
}

func (in *inserts) diff(node string, there map[row2]bool) error {
	told := make(map[row2]bool, len(in.acks))
	lost := 0
	for _, a := range in.acks {
		told[a.row] = true
		if !there[a.row] {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%s lacks %d of %d acknowledged rows", node, lost, len(in.acks))
	}
	for r := range there {
		if !told[r] && !in.doubt[r] {
			return fmt.Errorf("%s has row %v, which was never acknowledged nor in doubt", node, r)
		}
	}
	return nil
}

// oneAtATime fails if a server acknowledged an insert that began after another server had taken over from it.
func (in *inserts) oneAtATime(t *testing.T) {
	t.Helper()
	acks := slices.Clone(in.acks)
	slices.SortFunc(acks, func(a, b ack) int { return a.done.Compare(b.done) })
	type reign struct {
		server string
		since  time.Time
	}
	var reigns []reign
	for _, a := range acks {
		if len(reigns) == 0 || reigns[len(reigns)-1].server != a.server && a.begun.After(reigns[len(reigns)-1].since) {
			reigns = append(reigns, reign{a.server, a.done})
		}
	}
	t.Logf("primaries: %v", reigns)
	for i := range len(reigns) - 2 {
		if reigns[i].server == reigns[i+2].server && reigns[i+2].since.Sub(reigns[i+1].since) < 100*time.Millisecond {
			t.Errorf("%s acknowledged again %s after %s had taken over", reigns[i].server, reigns[i+2].since.Sub(reigns[i+1].since), reigns[i+1].server)
		}
	}
}

// readers watch each node over one connection at a time: what a reader has seen on a connection may not go away there.
func startReaders(ctx context.Context, t *testing.T, c *testcluster.Cluster) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		if n.Postgres.Port == 0 {
			continue
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := readOn(ctx, n); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return &wg
}

// readOn reads until the connection breaks. An error is a read that went back in time.
func readOn(ctx context.Context, n *testcluster.Node) error {
	open, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := n.Connect(open)
	if err != nil {
		return nil // the node is down: a matter of other tests
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	seen := 0
	for ctx.Err() == nil {
		var now int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM journal").Scan(&now); err != nil {
			return nil
		}
		if now < seen {
			return fmt.Errorf("a reader on %s saw %d rows, and later %d", n.Name, seen, now)
		}
		seen = now
		time.Sleep(30 * time.Millisecond)
	}
	return nil
}
