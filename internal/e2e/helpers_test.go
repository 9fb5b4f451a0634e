package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// psql runs one statement as an operator would and returns its unaligned output.
func psql(t *testing.T, n *testcluster.Node, sql string) string {
	t.Helper()
	out, err := tryPsql(t, n, sql)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryPsql(t *testing.T, n *testcluster.Node, sql string) (string, error) {
	t.Helper()
	return runPsql(t, n.DSN(), sql)
}

func runPsql(t *testing.T, conninfo, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "psql", conninfo, "-X", "-At", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-c", sql)
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("psql %q: %w: %s", sql, err, text)
	}
	return text, nil
}

// pgraft runs a verb of the command line against one node.
func pgraft(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	out, err := c.Command(ctx, n, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("pgraft %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// call sends one HTTP request and returns status, body and headers.
func call(t *testing.T, method, url, body string) (int, string, http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read body: %v", method, url, err)
	}
	return resp.StatusCode, string(raw), resp.Header
}

// wantRow waits until a query on a node gives the wanted output.
func wantRow(t *testing.T, n *testcluster.Node, sql, want string) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, func() error {
		got, err := tryPsql(t, n, sql)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s on %s: got %q, want %q", sql, n.Name, got, want)
		}
		return nil
	})
}

// statusOf waits until a node answers with its status.
func statusOf(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) api.Status {
	t.Helper()
	var status api.Status
	c.Eventually(30*time.Second, func() (err error) {
		status, err = c.Status(n)
		return err
	})
	return status
}

// answer is what an agent said to a request.
type answer struct {
	code   int
	body   string
	header http.Header
}

// ask sends one request to a node's HTTP API from the node's own host. A node that gives no answer is an error.
func ask(ctx context.Context, n *testcluster.Node, method, path, body string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.URL(path), strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := n.HTTPClient().Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(raw), resp.Header}, err
}

// mustPut writes a key, again if need be.
func mustPut(t *testing.T, n *testcluster.Node, key, value string) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, func() error { return put(t.Context(), n, key, value) })
}

func put(ctx context.Context, n *testcluster.Node, key, value string) error {
	a, err := ask(ctx, n, "PUT", "/v1/kv/"+key, value)
	if err == nil && a.code != http.StatusOK {
		err = fmt.Errorf("put %s on %s: %d %s", key, n.Name, a.code, a.body)
	}
	return err
}

// wantKey waits until a node has a value, by its own knowledge.
func wantKey(t *testing.T, n *testcluster.Node, key, want string) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, func() error {
		a, err := ask(t.Context(), n, "GET", "/v1/kv/"+key+"?raw&stale", "")
		if err == nil && (a.code != http.StatusOK || a.body != want) {
			err = fmt.Errorf("get %s on %s: %d %q, want %q", key, n.Name, a.code, a.body, want)
		}
		return err
	})
}

// wantStatus waits until a node's status is as wanted; check says what is missing.
func wantStatus(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, check func(api.Status) string) api.Status {
	t.Helper()
	var s api.Status
	testcluster.Eventually(t, 45*time.Second, func() (err error) {
		if s, err = c.Status(n); err != nil {
			return err
		}
		if missing := check(s); missing != "" {
			return fmt.Errorf("%s: %s", n.Name, missing)
		}
		return nil
	})
	return s
}

// wantText fails for each word that a text lacks.
func wantText(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s does not say %q:\n%s", what, word, text)
		}
	}
}
