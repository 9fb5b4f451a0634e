package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// journal is what writers were told: which keys are acknowledged for certain, and which are in doubt.
type journal struct {
	mu    sync.Mutex
	acked map[string]string
	doubt map[string]bool
}

// writers put keys of their own through random nodes until ctx ends. Every key is written once, so that its version
// tells how often it was applied.
func writers(ctx context.Context, t *testing.T, c *testcluster.Cluster, n int) (*journal, *sync.WaitGroup) {
	t.Helper()
	j := &journal{acked: make(map[string]string), doubt: make(map[string]bool)}
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				node := c.Nodes[rand.IntN(len(c.Nodes))]
				key := fmt.Sprintf("load/%d/%d", w, i)
				j.write(ctx, node, key, fmt.Sprintf("value of %s", key))
			}
		})
	}
	return j, &wg
}

func (j *journal) write(ctx context.Context, n *testcluster.Node, key, value string) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, n.URL("/v1/kv/"+key), bytes.NewBufferString(value))
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	status := 0
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		status = resp.StatusCode
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case status == http.StatusOK:
		j.acked[key] = value
	case status == http.StatusServiceUnavailable, refused(err): // definite: not written
	default:
		j.doubt[key] = true
	}
}

func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.acked)
}

// verify compares every node's rows with the journal: nothing acknowledged is lost, nothing is invented, nothing was
// applied twice.
func (j *journal) verify(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		testcluster.Eventually(t, 60*time.Second, func() error { return j.compare(t, n) })
	}
}

func (j *journal) compare(t *testing.T, n *testcluster.Node) error {
	rows, err := readRows(t, n)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, value := range j.acked {
		if got, ok := rows[key]; !ok || got.value != value {
			return fmt.Errorf("%s: acknowledged key %s is %q, want %q", n.Name, key, got.value, value)
		}
	}
	for key, row := range rows {
		if _, ok := j.acked[key]; !ok && !j.doubt[key] {
			return fmt.Errorf("%s: key %s was never acknowledged nor in doubt", n.Name, key)
		}
		if row.version != 1 {
			return fmt.Errorf("%s: key %s was written once and has version %d", n.Name, key, row.version)
		}
	}
	return nil
}
