package demo

import (
	"encoding/json"
	"fmt"
	"os"
)

// clusterFile is DIR/cluster.json: all that a script or a test needs to find its way.
type clusterFile struct {
	Nodes []clusterNode `json:"nodes"`
}

type clusterNode struct {
	Name        string          `json:"name"`
	Config      string          `json:"config"`
	DataDir     string          `json:"data_dir"`
	RunDir      string          `json:"run_dir"`
	HTTP        string          `json:"http"`
	Raft        string          `json:"raft"`
	Gossip      string          `json:"gossip"`
	ConsolePort int             `json:"console_port"`
	StatusFile  string          `json:"status_file"`
	AgentPID    int             `json:"agent_pid"`
	Log         string          `json:"log"`
	Postgres    clusterPostgres `json:"postgres"`
}

type clusterPostgres struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Database string `json:"database"`
	User     string `json:"user"`
	DataDir  string `json:"data_dir"`
}

// writeClusterFile gives path its whole content at once: that it exists is the sign that the cluster is ready.
func (c *cluster) writeClusterFile(path string) error {
	doc := clusterFile{}
	for _, n := range c.nodes {
		doc.Nodes = append(doc.Nodes, clusterNode{
			Name: n.name, Config: n.configFile(), DataDir: n.dataDir(), RunDir: n.runDir,
			HTTP: n.address(portHTTP), Raft: n.address(portRaft), Gossip: n.address(portGossip),
			ConsolePort: n.port(portConsole), StatusFile: n.statusFile(), AgentPID: n.agentPID, Log: n.logFile(),
			Postgres: clusterPostgres{
				Host: host, Port: n.port(portPostgres), Database: "postgres", User: n.superuser, DataDir: n.pgData(),
			},
		})
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster file: %w", err)
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write cluster file: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write cluster file: %w", err)
	}
	return nil
}
