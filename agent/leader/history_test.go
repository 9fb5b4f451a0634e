package leader_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/leader"
	"github.com/pgraft/pgraft/api"
)

func TestHistory(t *testing.T) {
	nonvoter := server("2")
	nonvoter.Suffrage = raft.Nonvoter
	scene := func(status string, s raft.Server) leader.Scene {
		return leader.SceneOf(leader.Inputs{
			Members:    []leader.Member{member("1", api.NodeAlive), member("2", status)},
			RaftConfig: []raft.Server{server("1"), s},
		})
	}
	tests := []struct {
		name        string
		before, now leader.Scene
		want        string
	}{
		{"nothing new", scene(api.NodeAlive, server("2")), scene(api.NodeAlive, server("2")), ""},
		{"a leader begins", leader.Scene{}, scene(api.NodeFailed, nonvoter), ""},
		{"fails", scene(api.NodeAlive, server("2")), scene(api.NodeFailed, server("2")), "failed n-2"},
		{"comes back", scene(api.NodeFailed, server("2")), scene(api.NodeAlive, server("2")), "alive n-2"},
		{"promoted", scene(api.NodeAlive, nonvoter), scene(api.NodeAlive, server("2")), "promoted n-2"},
		{"demoted and silent", scene(api.NodeAlive, server("2")), scene(api.NodeFailed, nonvoter), "failed n-2, demoted n-2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, e := range leader.History(tt.before, tt.now) {
				got = append(got, e.Type+" "+e.Node)
			}
			if text := strings.Join(got, ", "); text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}
