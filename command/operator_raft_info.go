package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/consensus"
)

// offlineDir is how the verbs that work without an agent find a data directory.
type offlineDir struct {
	dataDir string
	configs []string
}

func (o *offlineDir) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.dataDir, "data-dir", "", "the stopped agent's data_dir, a `directory`")
	fs.Func("config", "or its configuration, a `file or directory`; repeatable", func(s string) error {
		o.configs = append(o.configs, s)
		return nil
	})
}

// find returns the directory, and refuses one that holds no agent's data: opening it would make a new server of it.
func (o *offlineDir) find(stderr io.Writer) (string, error) {
	dir := o.dataDir
	if dir == "" {
		if len(o.configs) == 0 {
			return "", usagef("-data-dir or -config is missing")
		}
		cfg, warnings, err := config.Load(config.LoadOptions{Paths: o.configs})
		writeWarnings(stderr, warnings)
		if err != nil {
			return "", configError(err)
		}
		dir = cfg.DataDir
	}
	if _, err := os.Stat(filepath.Join(dir, "raft")); err != nil {
		return "", advise(fmt.Errorf("%s holds no Raft log: %w", dir, errors.Unwrap(err)), "Give the data_dir of the agent's configuration.")
	}
	return dir, nil
}

type raftInfoCmd struct {
	output
	offlineDir
}

func (c *raftInfoCmd) spec() spec {
	return spec{
		name:     "operator raft info",
		synopsis: "Show what a stopped agent's Raft log holds",
		help: "Works on the files, with the agent stopped. Before a recovery compare the survivors: the one with the highest last " +
			"log term, and among those with the highest last index, knows most.",
		examples: []string{"pgraft operator raft info -data-dir=/var/lib/pgraft"},
	}
}

func (c *raftInfoCmd) flags(fs *flag.FlagSet) {
	c.output.flags(fs)
	c.offlineDir.flags(fs)
}

func (c *raftInfoCmd) run(_ context.Context, x *call) error {
	dir, err := c.find(x.stderr)
	if err != nil {
		return err
	}
	info, err := consensus.Inspect(dir, hclog.NewNullLogger())
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	return c.print(x.stdout, info, func(w io.Writer) error { return writeOffline(w, info) })
}

func writeOffline(w io.Writer, info consensus.OfflineInfo) error {
	fmt.Fprintf(w, "Server id      %s\nTerm           %d\nLast log term  %d\nLast index     %d (log from %d)\n",
		info.ServerID, info.Term, info.LastLogTerm, info.LastIndex, info.FirstIndex)
	snapshot := "none"
	if len(info.Snapshots) > 0 {
		s := info.Snapshots[0]
		snapshot = fmt.Sprintf("index %d, term %d, %s", s.Index, s.Term, bytesText(s.Size))
	}
	fmt.Fprintf(w, "Snapshot       %s\n", snapshot)
	if info.TermOnly {
		_, err := fmt.Fprintln(w, "It never got an entry: there is nothing to recover on this server.")
		return err
	}
	fmt.Fprintf(w, "\nConfiguration of index %d:\n", info.ConfigurationIndex)
	return offlineTable(info, nil).write(w)
}

// offlineTable lists the configuration; with kept, also what a recovery would do to each server.
func offlineTable(info consensus.OfflineInfo, kept map[string]bool) *table {
	t := newTable("SERVER ID", "ADDRESS", "VOTER", "")
	for _, s := range info.Configuration {
		note := ""
		if s.ID == info.ServerID {
			note = "this server"
		}
		if kept != nil && !kept[string(s.ID)] {
			note = "DROPPED"
		}
		t.add(string(s.ID), s.Address, yesNo(s.Voter), note)
	}
	return t
}
