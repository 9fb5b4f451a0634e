package bench_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// What a clone is measured with, unless envCloneMB says otherwise.
const (
	cloneMB     = 256
	cloneRounds = 3
)

// clones compares making a standby's copy anew with pg_basebackup as a person would run it, in turn.
func clones(b *testing.B, c *testcluster.Cluster) {
	b.Helper()
	size := fromEnv(b, envCloneMB, cloneMB)
	fill(b, c, size)
	defer func() { execute(b, connect(b, c.Primary()), "DROP TABLE bench_bulk") }()
	standby := c.Others(c.Primary())[0]
	var own, whole, theirs []float64
	for range cloneRounds {
		theirs = append(theirs, baseBackup(b, c, standby))
		copied, streams := reinit(b, c, standby)
		own, whole = append(own, copied), append(whole, streams)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(own), "clone-ms")
	b.ReportMetric(median(whole), "until-standby-ms")
	b.ReportMetric(median(theirs), "pg_basebackup-ms")
	report.atLeast(fmt.Sprintf("clone of %d MB, speed against pg_basebackup's", size), 0.9, median(theirs)/median(own), "")
}

// fill makes the primary's data larger, row by row of about 1 kB, which PostgreSQL does not compress.
func fill(b *testing.B, c *testcluster.Cluster, mb int) {
	b.Helper()
	conn := connect(b, c.Primary())
	execute(b, conn, "CREATE TABLE bench_bulk (n int, filler text)")
	for range mb {
		execute(b, conn, "INSERT INTO bench_bulk SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 1024) n")
	}
}

// baseBackup runs pg_basebackup with the connection string that the standby streams with.
func baseBackup(b *testing.B, c *testcluster.Cluster, standby *testcluster.Node) float64 {
	b.Helper()
	raw, err := os.ReadFile(filepath.Join(standby.Postgres.DataDir, "pgraft.conf"))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "primary_conninfo = '")
	conninfo, _, found := strings.Cut(rest, "'\n")
	if !found {
		b.Fatal("pgraft.conf has no primary_conninfo")
	}
	dir := c.DataPlace("basebackup")
	defer os.RemoveAll(dir)
	execute(b, connect(b, c.Primary()), "CHECKPOINT")
	begun := time.Now()
	c.MustAsPostgres("pg_basebackup", "-d", strings.ReplaceAll(conninfo, "''", "'"), "-D", dir, "-X", "stream", "-c", "fast")
	return milliseconds(time.Since(begun))
}

// reinit has a standby cloned and returns how long the copy took, and all until it was a standby again.
func reinit(b *testing.B, c *testcluster.Cluster, standby *testcluster.Node) (copied, whole float64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	since := lastEvent(b, c)
	execute(b, connect(b, c.Primary()), "CHECKPOINT")
	begun := time.Now()
	if _, err := newClient(b, standby).Reinit(ctx, standby.Name); err != nil {
		b.Fatal(err)
	}
	testcluster.Eventually(b, 4*time.Minute, func() error {
		events := eventsSince(b, c, since)
		i := slices.IndexFunc(events, func(e api.Event) bool { return e.Type == "clone" && e.Data["clone_ms"] != "" })
		if i < 0 {
			return fmt.Errorf("no clone was done: %v", events)
		}
		whole = milliseconds(events[i].Time.Sub(begun))
		var err error
		copied, err = strconv.ParseFloat(events[i].Data["clone_ms"], 64)
		return err
	})
	waitManaged(b, c)
	return copied, whole
}
