package command_test

import (
	"testing"

	"github.com/pgraft/pgraft/api"
)

// TestStatusScreenChecks shows what the agent's checks found, the worst first, and nothing two times: that pg3 is silent
// and that versions differ has lines already.
func TestStatusScreenChecks(t *testing.T) {
	s := nodeFailed()
	s.Nodes[1].Version = "0.0.9"
	s.Checks = []api.Check{
		{Name: "clock_skew", Status: api.CheckUnknown, Message: "no other node answers", Next: "See which nodes are alive: pgraft status"},
		{Name: "disk_data_dir", Status: api.CheckOK, Message: "50 GiB free in /var/lib/pgraft, 50%"},
		{Name: "fsync", Status: api.CheckWarning, Message: "a write to /var/lib/pgraft is durable after 70ms", Next: "Give it a disk of its own."},
		{Name: "slots", Status: api.CheckCritical, Message: "slot cdc has lost WAL that its reader needs", Next: "Make its reader anew."},
		{Name: "versions", Status: api.CheckWarning, Message: "the nodes run different versions: 0.0.9, 1.0", Next: "Finish the upgrade."},
	}
	agent(t, map[string]any{"GET /v1/status": s})
	r := run(t, "", "status")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("code %d, stderr %q", r.code, r.stderr)
	}
	fits(t, r.stdout)
	golden(t, "status/checks.txt", r.stdout)
}
