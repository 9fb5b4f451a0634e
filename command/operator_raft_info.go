package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/config"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/postgres/controller"
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
			"log term, and among those with the highest last index, knows most of what was agreed. Of PostgreSQL's data the one with the " +
			"highest epoch, and among those with the highest WAL position, knows most.",
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
	report := offlineReport{OfflineInfo: info}
	if report.Postgres, err = readOfflinePostgres(dir); err != nil {
		return err
	}
	return c.print(x.stdout, report, func(w io.Writer) error { return writeOffline(w, report) })
}

// offlineReport is what a stopped agent's data directory tells.
type offlineReport struct {
	consensus.OfflineInfo
	Postgres *offlinePostgres `json:"postgres,omitempty"` // nil: the agent ran none
}

// offlinePostgres is what the agent last knew of the PostgreSQL that it ran.
type offlinePostgres struct {
	Epoch         uint64 `json:"epoch"` // in which the last of its WAL was written
	LSN           string `json:"lsn"`   // that its WAL reached at least
	PromisedEpoch uint64 `json:"promised_epoch"`
	Unconfirmed   bool   `json:"unconfirmed"`        // it was the primary: what it holds may never have been acknowledged
	Unusable      string `json:"unusable,omitempty"` // why the data can't be gone on from
}

func readOfflinePostgres(dir string) (*offlinePostgres, error) {
	local, err := controller.ReadLocal(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	out := &offlinePostgres{
		Epoch: local.Seen.Epoch, LSN: local.Seen.LSN.String(), PromisedEpoch: local.Promised, Unconfirmed: local.Unconfirmed, Unusable: local.Spoiled,
	}
	if local.Work != nil {
		out.Unusable = "a " + string(local.Work.Kind) + " was cut short"
	}
	return out, nil
}

func (p *offlinePostgres) String() string {
	text := fmt.Sprintf("WAL up to %s of epoch %d at least", p.LSN, p.Epoch)
	if p.Unconfirmed {
		text += ", the last of it perhaps never acknowledged"
	}
	if p.Unusable != "" {
		text += "; not usable: " + p.Unusable
	}
	return text
}

func writeOffline(w io.Writer, report offlineReport) error {
	info := report.OfflineInfo
	fmt.Fprintf(w, "Server id      %s\nTerm           %d\nLast log term  %d\nLast index     %d (log from %d)\n",
		info.ServerID, info.Term, info.LastLogTerm, info.LastIndex, info.FirstIndex)
	snapshot := "none"
	if len(info.Snapshots) > 0 {
		s := info.Snapshots[0]
		snapshot = fmt.Sprintf("index %d, term %d, %s", s.Index, s.Term, bytesText(s.Size))
	}
	fmt.Fprintf(w, "Snapshot       %s\n", snapshot)
	if report.Postgres != nil {
		fmt.Fprintf(w, "PostgreSQL     %s\n", report.Postgres)
	}
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
