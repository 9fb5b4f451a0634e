package demo

import (
	"context"
	"fmt"
	"strings"
)

// announce prints what to try.
func (c *cluster) announce() {
	leader := ""
	if s, err := c.nodes[0].status(context.Background()); err == nil {
		leader = s.LeaderName
	}
	text := announcement(c.cfg.Dir, c.nodes, leader)
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprint(c.cfg.Out, text)
}

// announcement has each node's connection string on a line of its own, so that a script can pick it.
func announcement(dir string, nodes []*node, leader string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d nodes are ready in %s. Connection strings, one per PostgreSQL:\n\n", len(nodes), dir)
	for _, n := range nodes {
		fmt.Fprintln(&b, n.conninfo())
	}
	first, other, victim := nodes[0], nodes[min(1, len(nodes)-1)], nodes[0]
	for _, n := range nodes {
		if n.name == leader {
			victim = n
		}
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
  export PGRAFT_HTTP_ADDR=%[5]s && pgraft status
`, first.conninfo(), other.conninfo(), first.runDir, first.port(portConsole), other.httpURL())
	fmt.Fprintf(&b, `Kill an agent (%s is the leader's) and start it again:
  kill -9 %d
  pgraft agent -config=%s

Ctrl-C stops everything.
`, victim.name, victim.agentPID, victim.configFile())
	return b.String()
}
