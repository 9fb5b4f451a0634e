package demo

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

func (n *node) writeConfig(all []*node) error {
	if err := os.WriteFile(n.configFile(), renderConfig(n, all), 0o644); err != nil {
		return fmt.Errorf("write agent's configuration: %w", err)
	}
	return nil
}

// renderConfig is the whole configuration of one agent.
func renderConfig(n *node, all []*node) []byte {
	file := hclwrite.NewEmptyFile()
	body := file.Body()
	text := func(b *hclwrite.Body, name, value string) { b.SetAttributeValue(name, cty.StringVal(value)) }
	number := func(b *hclwrite.Body, name string, value int) {
		b.SetAttributeValue(name, cty.NumberIntVal(int64(value)))
	}
	text(body, "node_name", n.name)
	text(body, "cluster_name", "demo")
	text(body, "data_dir", n.dataDir())
	text(body, "run_dir", n.runDir)
	text(body, "bind_addr", host)
	text(body, "advertise_addr", host)
	number(body, "bootstrap_expect", len(all))
	if others := gossipOf(n, all); len(others) > 0 {
		body.SetAttributeValue("retry_join", cty.ListVal(others))
		text(body, "retry_interval", "1s")
	}
	body.AppendNewline()
	ports := body.AppendNewBlock("ports", nil).Body()
	number(ports, "http", n.port(portHTTP))
	number(ports, "raft", n.port(portRaft))
	number(ports, "gossip", n.port(portGossip))
	number(ports, "console", n.port(portConsole))
	body.AppendNewline()
	pg := body.AppendNewBlock("postgres", nil).Body()
	text(pg, "database", "postgres")
	text(pg, "advertise", n.address(portPostgres))
	if n.external {
		text(pg, "mode", "external")
		text(pg, "dsn", n.conninfo()+" sslmode=disable")
		return file.Bytes()
	}
	text(pg, "mode", "managed")
	text(pg, "data_dir", n.pgData())
	text(pg, "listen", n.address(portPostgres))
	pg.SetAttributeValue("hba", cty.ListVal([]cty.Value{cty.StringVal("host all all " + host + "/32 trust")}))
	params := pg.AppendNewBlock("parameters", nil).Body()
	for _, name := range slices.Sorted(maps.Keys(smallServer)) {
		text(params, name, smallServer[name])
	}
	return file.Bytes()
}

func gossipOf(n *node, all []*node) []cty.Value {
	var out []cty.Value
	for _, other := range all {
		if other != n {
			out = append(out, cty.StringVal(other.address(portGossip)))
		}
	}
	return out
}
