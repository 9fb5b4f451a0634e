package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// announce prints what to try.
func (c *cluster) announce() {
	s, err := c.nodes[0].status(context.Background())
	if err != nil {
		s = api.Status{}
	}
	text := announcement(callable(c.cfg.Program), c.cfg.Dir, c.nodes, &s)
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprint(c.cfg.Out, text)
}

// callable is how the program is called from the reader's shell: by its name, if that finds it, else by its path.
func callable(program string) string {
	name := filepath.Base(program)
	if found, err := exec.LookPath(name); err == nil {
		if found, err = filepath.EvalSymlinks(found); err == nil && found == program {
			return name
		}
	}
	here, err := os.Getwd()
	if err != nil {
		return program
	}
	if path, err := filepath.Rel(here, program); err == nil && !strings.HasPrefix(path, "..") && strings.Contains(path, "/") {
		return path
	}
	return program
}

// announcement has each node's connection string on a line of its own, so that a script can pick it.
func announcement(program, dir string, nodes []*node, s *api.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d nodes are ready in %s. Connection strings, one per PostgreSQL:\n\n", len(nodes), dir)
	for _, n := range nodes {
		fmt.Fprintln(&b, n.conninfo())
	}
	first, other := nodes[0], nodes[min(1, len(nodes)-1)]
	if !first.external {
		primary := named(nodes, nameOf(s, s.PrimaryID))
		fmt.Fprintf(&b, "\nThe primary is %s. Whichever it is, this one finds it:\n\n%s\n", primary.name, multiHost(nodes))
	}
	fmt.Fprintf(&b, `
Ask any node, write on any node:
  psql "%[1]s" -c "SELECT * FROM pgraft_get_nodes();"
  psql "%[2]s" -c "SELECT pgraft_kv_put('app/config', '{\"timeout\":30}');"
  psql "%[1]s" -c "SELECT * FROM pgraft.kv;"
The console, also while PostgreSQL is down:
  psql -h %[3]s -p %[4]d -c 'SHOW NODES'
HTTP and the command line:
  curl %[5]s/v1/status
  export PGRAFT_HTTP_ADDR=%[5]s && %[6]s status
`, first.conninfo(), other.conninfo(), first.runDir, first.port(portConsole), other.httpURL(), program)
	b.WriteString(toKill(program, nodes, s))
	b.WriteString("\nCtrl-C stops everything.\n")
	return b.String()
}

// toKill says how to see a failover.
func toKill(program string, nodes []*node, s *api.Status) string {
	victim := named(nodes, s.LeaderName)
	if nodes[0].external {
		return fmt.Sprintf("Kill an agent (%s is the leader's) and start it again:\n  kill -9 %d\n  %s agent -config=%s\n",
			victim.name, victim.agentPID, program, victim.configFile())
	}
	victim = named(nodes, nameOf(s, s.PrimaryID))
	return fmt.Sprintf(`Load, in a second terminal:
  pgbench -i "%[1]s" && pgbench -T 60 -P 1 "%[1]s"
Below it, kill the primary %[2]s, PostgreSQL and agent, and start the agent again: it comes back as a standby:
  kill -9 $(head -1 %[3]s/postmaster.pid) %[4]d
  %[6]s agent -config=%[5]s
Or move the primary in order:
  %[6]s switchover
`, multiHost(nodes), victim.name, victim.pgData(), victim.agentPID, victim.configFile(), program)
}

// multiHost is the connection string with which a client finds the primary.
func multiHost(nodes []*node) string {
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, n.address(portPostgres))
	}
	return fmt.Sprintf("postgresql://%s@%s/postgres?target_session_attrs=read-write&connect_timeout=2", nodes[0].superuser, strings.Join(hosts, ","))
}

// named returns the node of that name, else the first.
func named(nodes []*node, name string) *node {
	for _, n := range nodes {
		if n.name == name {
			return n
		}
	}
	return nodes[0]
}

func nameOf(s *api.Status, nodeID int) string {
	for _, n := range s.Nodes {
		if n.NodeID == nodeID {
			return n.Name
		}
	}
	return ""
}
