package command

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/posener/complete"
)

//go:embed monitoring
var monitoringFiles embed.FS

// monitoringParts are what can be exported, in the order in which they are used; as is the name of the file below -out.
var monitoringParts = []struct{ name, file, as string }{
	{"scrape", "scrape.yml", "pgraft-scrape.yml"},
	{"rules", "rules.yml", "pgraft-rules.yml"},
	{"dashboard", "dashboard.json", "pgraft-dashboard.json"},
}

type monitoringExportCmd struct{ out string }

func (c *monitoringExportCmd) spec() spec {
	return spec{
		name: "monitoring export", args: "[scrape|rules|dashboard]", maxArgs: 1,
		synopsis: "Print alert rules, dashboard and scrape configuration",
		help: "Prints one of the files that ship with this version: `scrape` and `rules` for Prometheus, `dashboard` for Grafana. " +
			"With -out all three, or the one that is named, are written to a directory; a file that exists there is replaced. " +
			"No agent is asked.",
		examples: []string{
			"pgraft monitoring export rules > /etc/prometheus/pgraft-rules.yml",
			"pgraft monitoring export dashboard > pgraft-dashboard.json",
			"pgraft monitoring export -out=/tmp/pgraft-monitoring",
		},
		predict: complete.PredictSet("scrape", "rules", "dashboard"),
	}
}

func (c *monitoringExportCmd) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.out, "out", "", "write to this `directory` instead of standard output")
}

func (c *monitoringExportCmd) run(_ context.Context, x *call) error {
	name := ""
	if len(x.args) > 0 {
		name = x.args[0]
	}
	if name == "" && c.out == "" {
		return usagef("say which: scrape, rules or dashboard; or -out=DIRECTORY for all of them")
	}
	found := false
	for _, part := range monitoringParts {
		if name != "" && name != part.name {
			continue
		}
		found = true
		content, err := monitoringFiles.ReadFile("monitoring/" + part.file)
		if err != nil {
			return fmt.Errorf("read %s: %w", part.file, err)
		}
		if err := c.export(x, part.as, content); err != nil {
			return err
		}
	}
	if !found {
		return usagef("nothing to export is called %q: want scrape, rules or dashboard", name)
	}
	return nil
}

func (c *monitoringExportCmd) export(x *call, as string, content []byte) error {
	if c.out == "" {
		_, err := x.stdout.Write(content)
		return err
	}
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	path := filepath.Join(c.out, as)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	_, err := fmt.Fprintln(x.stdout, path)
	return err
}
