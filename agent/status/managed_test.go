package status_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/agent/probe"
	"github.com/pgraft/pgraft/agent/status"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

var update = flag.Bool("update", false, "write the golden file")

// managed is a cluster whose primary is "s1", as this node "s1" sees it, with standbys "s2" and "s3".
func managed() status.Inputs {
	in := inputs()
	in.Fresh = true
	in.Postgres = api.PostgresStatus{Enabled: true, Up: true, Mode: "managed", AppliedIndex: 98}
	member := func(id string) primacy.Member { return primacy.Member{ServerID: id, Memory: "m"} }
	in.Primacy = primacy.State{
		SystemID: "7", Major: 15, Epoch: 3, Phase: primacy.PhaseReady, Primary: "s1", Reason: "failover",
		Sync:    primacy.Sync{Version: 4, Members: []primacy.Member{member("s1"), member("s2"), member("s3")}, Acks: 1},
		Acked:   primacy.Position{Epoch: 3, LSN: 0x5000},
		Lineage: []primacy.Branch{{Epoch: 1, ServerID: "s2", Timeline: 1}, {Epoch: 3, Parent: 1, ServerID: "s1", Timeline: 2, Switch: 0x3000}},
	}
	in.Server = &status.Server{
		Running: true, WasPrimary: true, Epoch: 3, Timeline: 2, LSN: 0x6000, Acked: 0x5800, Acks: 2, ProofUntil: now.Add(time.Second),
		Replicas: map[string]probe.Replica{
			"s2": {State: "streaming", FlushLSN: 0x5800, ReplayLSN: 0x5800}, "s3": {State: "catchup", FlushLSN: 0x2000, ReplayLSN: 0x1000},
		},
	}
	for _, id := range []string{"s2", "s3"} {
		in.Peers[id] = probe.Peer{Heard: now.Add(-time.Second), Answer: probe.Answer{
			PostgresEnabled: true, Role: api.RoleStandby, Server: probe.Server{Epoch: 3, Timeline: 2, LSN: 0x5000},
		}}
	}
	return in
}

// standby makes this node s2 of the same cluster.
func standby(in *status.Inputs) {
	primary := probe.Peer{Heard: now.Add(-time.Second), Answer: probe.Answer{
		PostgresEnabled: true, Role: api.RolePrimary, Replicas: in.Server.Replicas, Server: probe.Server{Epoch: 3, Timeline: 2, LSN: 0x6000},
	}}
	in.Peers["s1"] = primary
	in.Identity.ServerID, in.Identity.Name = "s2", "pg2"
	in.Raft.State, in.Raft.LeaderID, in.Raft.LastContact = "follower", "s1", now.Add(-50*time.Millisecond)
	in.Server = &status.Server{
		Running: true, InRecovery: true, Epoch: 3, Timeline: 2, LSN: 0x5900, ReplayLSN: 0x5880, ProofUntil: now.Add(time.Second),
	}
	in.Postgres.InRecovery = true
}

// former makes this node the primary of an earlier epoch, of which s2 took over at 0x3000.
func former(in *status.Inputs) {
	in.Primacy.Primary = "s2"
	in.Primacy.Lineage[1].ServerID = "s2"
	in.Server.Epoch, in.Server.LSN, in.Server.Acked, in.Server.Replicas = 1, 0x3400, 0x2f00, nil
}

var managedCases = []struct {
	name   string
	change func(*status.Inputs)
}{
	{"primary", func(*status.Inputs) {}},
	{"primary: lease over", func(in *status.Inputs) { in.Server.ProofUntil = now; in.Server.ReadOnly = true }},
	{"primary: leads no more and hears nobody", func(in *status.Inputs) { in.Raft.State = "candidate"; in.Server.Acks = 0 }},
	{"primary: state machine is old", func(in *status.Inputs) { in.Fresh = false }},
	{"primary: too few acknowledge", func(in *status.Inputs) { in.Server.Acks = 0 }},
	{"primary: async", func(in *status.Inputs) {
		in.Primacy.Sync.Async, in.Primacy.Sync.Acks, in.Server.Acks, in.Server.Acked = true, 0, 0, 0
	}},
	{"primary: alone", func(in *status.Inputs) {
		in.Primacy.Sync = primacy.Sync{Version: 9, Members: []primacy.Member{{ServerID: "s1"}}}
		in.Primacy.Next = &primacy.Sync{Members: []primacy.Member{{ServerID: "s1"}, {ServerID: "s9"}}, Acks: 1}
	}},
	{"primary: hands over", func(in *status.Inputs) { in.Primacy.Handover, in.Server.ReadOnly, in.Primacy.Paused = "s2", true, true }},
	{"primary: postmaster gone", func(in *status.Inputs) { in.Server.Running, in.Postgres.Up = false, false }},
	{"primary: restarts in place", func(in *status.Inputs) { in.Server.Gated = true }},
	{"primary: the cluster chose another", func(in *status.Inputs) { in.Primacy.Primary, in.Primacy.Epoch = "s2", 4 }},
	{"primary: epoch fenced", func(in *status.Inputs) {
		in.Primacy.Epoch, in.Primacy.Phase, in.Server.Fenced = 4, primacy.PhaseFenced, true
	}},
	{"former primary, still up", former},
	{"former primary, rewinding", func(in *status.Inputs) {
		former(in)
		in.Server.Running, in.Postgres.Up, in.Server.Action, in.Server.Done, in.Server.Total = false, false, status.ActionRewind, 30<<20, 120<<20
	}},
	{"chosen, promotes", func(in *status.Inputs) {
		in.Primacy.Phase, in.Server.Epoch, in.Server.WasPrimary, in.Server.InRecovery, in.Server.Fenced = primacy.PhasePromoting, 1, false, true, true
		in.Server.Action = status.ActionPromote
	}},
	{"promoted, not ready yet", func(in *status.Inputs) { in.Primacy.Phase = primacy.PhasePromoting; in.Server.Gated = true }},
	{"standby", standby},
	{"standby: primary silent", func(in *status.Inputs) { standby(in); in.Peers["s1"] = probe.Peer{Heard: now.Add(-time.Minute)} }},
	{"standby: minority", func(in *status.Inputs) { standby(in); in.Raft.LastContact = now.Add(-time.Minute) }},
	{"standby: fenced", func(in *status.Inputs) {
		standby(in)
		in.Primacy.Epoch, in.Primacy.Phase, in.Server.Fenced = 4, primacy.PhaseFenced, true
	}},
	{"standby: the old primary's claim is still in our ears", func(in *status.Inputs) {
		standby(in)
		in.Primacy.Epoch, in.Primacy.Primary = 4, "s3"
	}},
	{"clone", func(in *status.Inputs) {
		standby(in)
		in.Postgres.Up = false
		in.Server = &status.Server{Action: status.ActionClone, Done: 512 << 20, Total: 1 << 30}
	}},
	{"not founded", func(in *status.Inputs) {
		in.Primacy, in.Server, in.Postgres.Up = primacy.State{}, &status.Server{}, false
	}},
	{"a person must help", func(in *status.Inputs) { standby(in); in.Server.Error = "data_dir belongs to user mail" }},
	{"witness", func(in *status.Inputs) {
		standby(in)
		in.Identity.Witness, in.Registry[1].Witness, in.Server, in.Postgres = true, true, nil, api.PostgresStatus{}
	}},
	{"pending restart", func(in *status.Inputs) {
		in.Server.PendingRestart = []string{"max_connections"}
		peer := in.Peers["s2"]
		peer.Server.PendingRestart = []string{"max_connections"}
		in.Peers["s2"] = peer
	}},
}

// TestManaged compares what each situation is called with the golden file.
func TestManaged(t *testing.T) {
	var b strings.Builder
	for _, tt := range managedCases {
		in := managed()
		tt.change(&in)
		describe(&b, tt.name, status.Build(in))
	}
	path := filepath.Join("testdata", "managed.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs (look at the change, then -update)\n%s", path, b.String())
	}
}

func describe(b *strings.Builder, name string, s api.Status) {
	fmt.Fprintf(b, "== %s\n%s, %s", name, s.Role, s.WorkerState)
	if s.WorkerMessage != "" {
		fmt.Fprintf(b, " (%s)", s.WorkerMessage)
	}
	fmt.Fprintf(b, "\nepoch %d %s, primary %d %s, until %v, handover %q, paused %v\n", s.Epoch, s.Phase, s.PrimaryID, s.PrimaryName,
		!s.PrimaryUntil.IsZero(), s.Handover, s.Paused)
	fmt.Fprintf(b, "sync %s %d of %v, next %v, warning %q\n", s.Sync.Mode, s.Sync.Acks, s.Sync.Members, s.Sync.Next != nil, s.Sync.Warning)
	p := s.Postgres
	fmt.Fprintf(b, "postgres epoch %d timeline %d lsn %s replay %s, read only %v, in doubt %q %d, acks %d\n", p.Epoch, p.Timeline, p.LSN, p.ReplayLSN,
		p.ReadOnly, s.InDoubtLSN, p.InDoubtBytes, p.SyncAcks)
	for _, n := range s.Nodes {
		fmt.Fprintf(b, "  %s %s %s, sync %v, lsn %s, lag %d, %q %s %d/%d %v\n", n.Name, n.Status, n.Role, n.Sync, n.LSN, n.LagBytes, n.Replication,
			n.Action, n.ProgressDone, n.ProgressTotal, n.PendingRestart)
	}
}

// TestOnePrimaryClaimAtMost tries every combination of what a primary's claim rests on.
func TestOnePrimaryClaimAtMost(t *testing.T) {
	breaks := []func(*status.Inputs){
		func(in *status.Inputs) { in.Fresh = false },
		func(in *status.Inputs) { in.Raft.LeaseUntil = now },
		func(in *status.Inputs) { in.Server.ProofUntil = now },
		func(in *status.Inputs) { in.Primacy.Phase = primacy.PhasePromoting },
		func(in *status.Inputs) { in.Primacy.Primary = "s2" },
		func(in *status.Inputs) { in.Primacy.Epoch++ },
		func(in *status.Inputs) { in.Server.Epoch-- },
		func(in *status.Inputs) { in.Postgres.Up = false },
		func(in *status.Inputs) { in.Server.InRecovery = true },
		func(in *status.Inputs) { in.Server.Gated = true },
		func(in *status.Inputs) { in.Server.Fenced = true },
		func(in *status.Inputs) { in.Server.Running = false },
	}
	for set := range 1 << len(breaks) {
		in := managed()
		for i, change := range breaks {
			if set&(1<<i) != 0 {
				change(&in)
			}
		}
		s := status.Build(in)
		claims := 0
		for _, n := range s.Nodes {
			if n.Role == api.RolePrimary {
				claims++
			}
		}
		if whole := set == 0; (s.Role == api.RolePrimary) != whole || claims > 1 || claims == 1 && s.PrimaryID == 0 || whole != (s.PrimaryID == 1) {
			t.Errorf("without %b: role %s, primary %d, %d rows claim", set, s.Role, s.PrimaryID, claims)
		}
	}
}

func TestInDoubtNeverGoesBelowZero(t *testing.T) {
	for _, lsn := range []wal.LSN{0, 1, 0x2fff, 0x3000, 0x3001} {
		in := managed()
		former(&in)
		in.Server.LSN = lsn
		s := status.Build(in)
		if doubtful := lsn > 0x3000; (s.InDoubtLSN != "") != doubtful || doubtful && s.Postgres.InDoubtBytes != int64(lsn-0x3000) {
			t.Errorf("LSN %s: in doubt %q, %d bytes", lsn, s.InDoubtLSN, s.Postgres.InDoubtBytes)
		}
	}
}
