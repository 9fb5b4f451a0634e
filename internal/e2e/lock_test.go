package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// TestLiving runs the verbs that hold or stream something, and exchanges the gossip's key, on one cluster.
func TestLiving(t *testing.T) {
	c := testcluster.Custom(t)
	c.AddAll(
		testcluster.Spec{Name: "a", Config: encrypted}, testcluster.Spec{Name: "b", Config: encrypted},
		testcluster.Spec{Name: "c", Config: encrypted},
	)
	c.StartAll()
	t.Run("LockExcludes", func(t *testing.T) { lockExcludes(t, c) })
	t.Run("LockOfTheDead", func(t *testing.T) { lockOfTheDead(t, c) })
	t.Run("LockLost", func(t *testing.T) { lockLost(t, c) })
	t.Run("SessionExpires", func(t *testing.T) { sessionExpires(t, c) })
	t.Run("Watch", func(t *testing.T) { watch(t, c) })
	t.Run("Monitor", func(t *testing.T) { monitor(t, c) })
	t.Run("Keyring", func(t *testing.T) { keyring(t, c) })
}

// running is a verb under way whose output is read line by line.
type running struct {
	t     *testing.T
	verb  string
	lines chan string
	end   func() int // waits for it
	stop  func(syscall.Signal)
}

func start(t *testing.T, c *testcluster.Cluster, n *testcluster.Node, args ...string) *running {
	t.Helper()
	cmd := c.Command(context.WithoutCancel(t.Context()), n, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, verb: args[0], lines: make(chan string, 1000)}
	go func() {
		defer close(r.lines)
		for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
			r.lines <- scanner.Text()
		}
	}()
	done := make(chan int, 1)
	r.stop = func(sig syscall.Signal) { _ = cmd.Process.Signal(sig) }
	r.end = func() int {
		go func() { _ = cmd.Wait(); done <- cmd.ProcessState.ExitCode() }()
		select {
		case code := <-done:
			return code
		case <-time.After(30 * time.Second):
			t.Errorf("pgraft %s did not end", r.verb)
			_ = cmd.Process.Kill()
			return <-done
		}
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return r
}

// want reads lines until one has all of the words.
func (r *running) want(words ...string) string {
	r.t.Helper()
	var seen []string
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-r.lines:
			if !ok {
				r.t.Fatalf("pgraft %s ended without a line with %q:\n%s", r.verb, words, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			if containsAll(line, words) {
				return line
			}
		case <-timeout:
			r.t.Fatalf("pgraft %s printed no line with %q in 30 s:\n%s", r.verb, words, strings.Join(seen, "\n"))
		}
	}
}

func containsAll(line string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(line, word) {
			return false
		}
	}
	return true
}

// lockExcludes has several processes on all nodes read, wait and write a file that nothing but the lock protects.
func lockExcludes(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	counter := filepath.Join(c.Dir, "counter")
	if err := os.WriteFile(counter, []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`n=$(cat %[1]s); sleep 0.1; echo $((n+1)) > %[1]s; echo "token $PGRAFT_LOCK_INDEX"`, counter)
	var all []*running
	for i := range 6 {
		all = append(all, start(t, c, c.Nodes[i%3], "lock", "jobs/count", script))
	}
	tokens := make(map[string]bool)
	for _, r := range all {
		tokens[r.want("token ")] = true
		if code := r.end(); code != 0 {
			t.Errorf("lock ended with exit code %d", code)
		}
	}
	if got := strings.TrimSpace(string(readFile(t, counter))); got != "6" {
		t.Errorf("six increments under the lock made %s", got)
	}
	if len(tokens) != 6 {
		t.Errorf("the fencing tokens of six holders: %v", tokens)
	}
	// The command's own exit code comes through, and the lock is free at once.
	if out, code := c.Run(c.Nodes[0], "lock", "-wait=0s", "jobs/count", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exit code %d of a command that ended with 7: %s", code, out)
	}
}

// lockOfTheDead kills a holder: who waits gets the lock when the TTL is over, and not before.
func lockOfTheDead(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	holder := start(t, c, c.Nodes[0], "lock", "-ttl=2s", "-name=the holder", "jobs/dead", "echo", "held")
	holder.want("held")
	holder.end()

	holder = start(t, c, c.Nodes[0], "lock", "-ttl=2s", "-name=the holder", "jobs/dead", "echo held; sleep 60")
	holder.want("held")
	out, code := c.Run(c.Nodes[1], "lock", "-wait=0s", "jobs/dead", "true")
	if code != 1 {
		t.Errorf("lock that is held: exit code %d, want 1", code)
	}
	wantText(t, "lock that is held", out, "held by the holder", "-wait")
	killed := time.Now()
	holder.stop(syscall.SIGKILL)
	waiter := start(t, c, c.Nodes[1], "lock", "-ttl=2s", "jobs/dead", "echo", "inherited")
	waiter.want("inherited")
	if took := time.Since(killed); took < 1500*time.Millisecond {
		t.Errorf("the lock of a dead holder was given on after %s, before its TTL of 2 s", took)
	}
	if code := waiter.end(); code != 0 {
		t.Errorf("the waiter ended with exit code %d", code)
	}
	holder.end()
	endChildren(t, "sleep 60")
}

// endChildren ends what a killed pgraft lock left running.
func endChildren(t *testing.T, what string) {
	t.Helper()
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		cmdline, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(proc, "environ"))
		if strings.Contains(strings.ReplaceAll(string(cmdline), "\x00", " "), what) && strings.Contains(string(environ), "PGRAFT_LOCK_KEY=jobs/dead") {
			var pid int
			if _, err := fmt.Sscan(filepath.Base(proc), &pid); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// lockLost freezes a holder's pgraft beyond its TTL, as a machine that hangs: its command is ended, the next one is the
// holder.
func lockLost(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	holder := start(t, c, c.Nodes[2], "lock", "-ttl=1s", "jobs/lost", `trap "echo ended by signal; exit 3" TERM; echo held; while :; do sleep 0.1; done`)
	holder.want("held")
	holder.stop(syscall.SIGSTOP)
	next := start(t, c, c.Nodes[0], "lock", "-ttl=1s", "jobs/lost", "echo", "next")
	next.want("next")
	holder.stop(syscall.SIGCONT)
	holder.want("ended by signal")
	holder.want("lost")
	if code := holder.end(); code != 1 {
		t.Errorf("a holder that lost its lock ended with exit code %d, want 1", code)
	}
	if code := next.end(); code != 0 {
		t.Errorf("the next holder ended with exit code %d", code)
	}
}

// sessionExpires does by HTTP what the lock verb does, and lets the session run out. That the leader changes meanwhile
// must not shorten its time.
func sessionExpires(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	ctx := t.Context()
	a, err := ask(ctx, c.Nodes[0], "PUT", "/v1/session/create", `{"name":"short","ttl":"3s","lock_delay":"1s"}`)
	if err != nil || a.code != 200 {
		t.Fatalf("create session: %v %d %s", err, a.code, a.body)
	}
	var session api.Session
	if err := json.Unmarshal([]byte(a.body), &session); err != nil {
		t.Fatal(err)
	}
	if a, err = ask(ctx, c.Nodes[1], "PUT", "/v1/kv/leases/x?acquire="+session.ID, "mine"); err != nil || a.code != 200 {
		t.Fatalf("acquire: %v %d %s", err, a.code, a.body)
	}
	renewed := time.Now()
	leader := c.Leader()
	if out, code := c.Run(leader, "operator", "raft", "transfer-leader"); code != 0 {
		t.Errorf("transfer: %s", out)
	}
	holds := func() (bool, error) {
		a, err := ask(ctx, c.Nodes[2], "GET", "/v1/kv/leases/x?consistent", "")
		if err != nil || a.code != 200 {
			return false, fmt.Errorf("read the lock: %w %d %s", err, a.code, a.body)
		}
		return strings.Contains(a.body, session.ID), nil
	}
	testcluster.Eventually(t, 30*time.Second, func() error {
		held, err := holds()
		if err == nil && held {
			err = fmt.Errorf("the session still holds the lock")
		}
		return err
	})
	if took := time.Since(renewed); took < 2500*time.Millisecond {
		t.Errorf("the session ended after %s, its TTL is 3 s", took)
	}
	if a, err = ask(ctx, c.Nodes[0], "PUT", "/v1/kv/leases/x?acquire="+session.ID, "mine"); err != nil || a.code != 404 && a.code != 409 {
		t.Errorf("acquire with a session that expired: %v %d %s", err, a.code, a.body)
	}
}

func watch(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	r := start(t, c, c.Nodes[1], "watch", "app/watched")
	r.want("is not there")
	for i := range 3 {
		mustPut(t, c.Nodes[i], "app/watched", fmt.Sprintf("value %d", i))
		r.want("app/watched", fmt.Sprintf("version %d", i+1), fmt.Sprintf("value %d", i))
	}
	// The agent it asks goes away and comes back: the stream goes on.
	c.KillAgent(c.Nodes[1])
	mustPut(t, c.Nodes[0], "app/watched", "while away")
	c.StartAgent(c.Nodes[1])
	r.want("while away")
	if a, err := ask(t.Context(), c.Nodes[2], "DELETE", "/v1/kv/app/watched", ""); err != nil || a.code != 200 {
		t.Errorf("delete: %v %d", err, a.code)
	}
	r.want("is not there")
	r.stop(os.Interrupt.(syscall.Signal))
	if code := r.end(); code != 0 {
		t.Errorf("Ctrl-C is how a watch ends, and it ended with exit code %d", code)
	}
	// With a command, once for each change.
	r = start(t, c, c.Nodes[0], "watch", "app/cmd", "sh", "-c", `echo "got $(cat) of $PGRAFT_KEY version $PGRAFT_VERSION"`)
	r.want("got  of app/cmd version 0")
	mustPut(t, c.Nodes[2], "app/cmd", "v1")
	r.want("got v1 of app/cmd version 1")
	r.stop(syscall.SIGTERM)
	r.end()
}

func monitor(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	leader := c.Leader()
	r := start(t, c, leader, "monitor", "-log-level=debug")
	time.Sleep(500 * time.Millisecond) // it prints nothing when it has begun
	if out, code := c.Run(leader, "operator", "raft", "transfer-leader"); code != 0 {
		t.Errorf("transfer: %s", out)
	}
	r.want("no longer the leader")
	r.stop(os.Interrupt.(syscall.Signal))
	if code := r.end(); code != 0 {
		t.Errorf("Ctrl-C is how a monitor ends, and it ended with exit code %d", code)
	}
	if strings.Contains(c.LogOf(leader), "[DEBUG]") {
		t.Error("the agent's own log became as detailed as the stream")
	}
}

// keyring exchanges the key of the gossip under the running cluster, also for a node that is away at the time.
func keyring(t *testing.T, c *testcluster.Cluster) {
	c.In(t)
	n := c.Nodes[0]
	verb := func(want int, args ...string) string {
		t.Helper()
		out, code := c.Run(n, append([]string{"keyring"}, args...)...)
		if code != want {
			t.Fatalf("keyring %s: exit code %d, want %d: %s", args[0], code, want, out)
		}
		return out
	}
	wantText(t, "keyring list", verb(0, "list"), gossipKey, "3 of 3")
	out := verb(1, "use", gossipKey2)
	wantText(t, "use of a key that nobody has", out, "install")
	out = verb(1, "remove", gossipKey)
	wantText(t, "removal of the key in use", out, "use")
	verb(2, "install", "no key at all")

	wantText(t, "keyring install", verb(0, "install", gossipKey2), "3 of 3")
	verb(0, "use", gossipKey2)
	verb(0, "remove", gossipKey)
	list := verb(0, "list")
	if strings.Contains(list, gossipKey) {
		t.Errorf("the old key is still there:\n%s", list)
	}
	c.WaitWhole()
	// The keyring file outlives the configuration's key.
	c.KillAgent(c.Nodes[2])
	c.StartAgent(c.Nodes[2])
	c.WaitWhole()
	for _, n := range c.Nodes {
		wantStatus(t, c, n, func(s api.Status) string {
			if s.WorkerState != api.WorkerRunning {
				return s.WorkerMessage
			}
			return ""
		})
		if strings.Contains(c.LogOf(n), gossipKey) || strings.Contains(c.LogOf(n), gossipKey2) {
			t.Errorf("a key stands in the log of %s", n.Name)
		}
	}
	if out, code := c.Run(n, "info"); code != 0 || strings.Contains(out, gossipKey) {
		t.Errorf("pgraft info shows the key: %d\n%s", code, out)
	}
}
