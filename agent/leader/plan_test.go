package leader_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func node(id string) fsm.Node {
	return fsm.Node{Name: "n-" + id, ServerID: id, RaftAddress: "10.0.0.1:" + id, Version: "1"}
}

func member(id, status string) leader.Member { return leader.Member{Node: node(id), Status: status} }

func server(id string) raft.Server {
	return raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress("10.0.0.1:" + id), Suffrage: raft.Voter}
}

func row(id string, nodeID int) fsm.Node {
	n := node(id)
	n.NodeID, n.CreateIndex, n.ModifyIndex = nodeID, 5, 9
	return n
}

func moved(m leader.Member, addr string) leader.Member {
	m.Node.RaftAddress = addr
	return m
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name    string
		in      leader.Inputs
		removed string
		want    string
	}{
		{
			name: "nothing to do",
			in: leader.Inputs{
				Members: []leader.Member{member("1", api.NodeAlive)}, Registry: []fsm.Node{row("1", 1)},
				RaftConfig: []raft.Server{server("1")},
			},
		},
		{
			name: "new member is registered first, then becomes a server",
			in: leader.Inputs{
				Members:  []leader.Member{member("2", api.NodeAlive), member("1", api.NodeAlive)},
				Registry: []fsm.Node{row("1", 1)}, RaftConfig: []raft.Server{server("1")},
			},
			want: "register 2, add server 2",
		},
		{
			name: "failed member keeps its place",
			in: leader.Inputs{
				Members:  []leader.Member{member("1", api.NodeAlive), member("2", api.NodeFailed)},
				Registry: []fsm.Node{row("1", 1), row("2", 2)}, RaftConfig: []raft.Server{server("1"), server("2")},
			},
		},
		{
			name: "member that left goes from raft and registry",
			in: leader.Inputs{
				Members:  []leader.Member{member("1", api.NodeAlive), member("2", api.NodeLeft)},
				Registry: []fsm.Node{row("1", 1), row("2", 2)}, RaftConfig: []raft.Server{server("1"), server("2")},
			},
			want: "remove server 2, retire 2",
		},
		{
			name: "one removal a round",
			in: leader.Inputs{
				Members: []leader.Member{member("2", api.NodeLeft), member("3", api.NodeLeft)},
				RaftConfig: []raft.Server{
					server("1"), server("2"), server("3"),
				},
			},
			want: "remove server 2, retire 2",
		},
		{
			name: "leader never removes itself",
			in: leader.Inputs{
				Members: []leader.Member{member("1", api.NodeLeft)}, RaftConfig: []raft.Server{server("1")},
			},
			removed: "1",
		},
		{
			name: "removed server is not admitted again and leaves the configuration",
			in: leader.Inputs{
				Members:  []leader.Member{member("1", api.NodeAlive), member("2", api.NodeAlive)},
				Registry: []fsm.Node{row("1", 1)}, RaftConfig: []raft.Server{server("1"), server("2")},
			},
			removed: "2",
			want:    "remove server 2",
		},
		{
			name: "another cluster's node is not admitted",
			in: leader.Inputs{
				Members: []leader.Member{{Node: node("2"), Status: api.NodeAlive, ClusterID: "other"}},
			},
		},
		{
			name: "a log of unknown origin is not written over",
			in:   leader.Inputs{Members: []leader.Member{{Node: node("2"), Status: api.NodeAlive, HasState: true}}},
		},
		{
			name: "a server of ours that does not know its cluster yet",
			in: leader.Inputs{
				Members:    []leader.Member{{Node: node("2"), Status: api.NodeAlive, HasState: true}},
				RaftConfig: []raft.Server{server("2")},
			},
			want: "register 2",
		},
		{
			name: "new address is written to both",
			in: leader.Inputs{
				Members:  []leader.Member{moved(member("2", api.NodeAlive), "10.0.0.9:7401")},
				Registry: []fsm.Node{row("2", 2)}, RaftConfig: []raft.Server{server("1"), server("2")},
			},
			want: "register 2, set address 2",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Self, tt.in.ClusterID = "1", "ours"
			tt.in.Removed = func(id string) bool { return id == tt.removed }
			if got := describe(leader.Plan(tt.in)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func describe(actions []leader.Action) string {
	words := make([]string, 0, len(actions))
	for _, a := range actions {
		words = append(words, fmt.Sprintf("%s %s", a.Kind, a.ServerID))
	}
	return strings.Join(words, ", ")
}
