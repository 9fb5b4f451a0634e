package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/pgraft/pgraft/api/archive"
	"github.com/pgraft/pgraft/fsm"
)

type snapshotInspectCmd struct{ output }

func (c *snapshotInspectCmd) spec() spec {
	return spec{
		name: "snapshot inspect", args: "FILE", minArgs: 1, maxArgs: 1,
		synopsis: "Verify a snapshot file and show what it is and holds",
		help:     "Needs no agent. Exit code 1 if a single byte of the file is not what was saved.",
		examples: []string{"pgraft snapshot inspect backup.snap"},
	}
}

func (c *snapshotInspectCmd) flags(fs *flag.FlagSet) { c.output.flags(fs) }

func (c *snapshotInspectCmd) run(_ context.Context, x *call) error {
	content, err := inspectFile(x.args[0])
	if err != nil {
		return err
	}
	return c.print(x.stdout, content, func(w io.Writer) error {
		return errors.Join(writeSnapshotMeta(w, content.Meta), writeContent(w, content))
	})
}

// snapshotContent is what a file of a snapshot holds.
type snapshotContent struct {
	archive.Meta
	Tables  []snapshotTable `json:"tables"`
	Epoch   uint64          `json:"epoch,omitempty"`   // of the primary PostgreSQL, 0 if none is managed
	Primary string          `json:"primary,omitempty"` // its server id
}

type snapshotTable struct {
	Name string `json:"name"`
	Rows int    `json:"rows"`
}

// inspectFile verifies a file to its last byte, and the state in it as the state machine would.
func inspectFile(name string) (snapshotContent, error) {
	f, err := os.Open(name)
	if err != nil {
		return snapshotContent{}, fmt.Errorf("open snapshot: %w", err)
	}
	defer f.Close()
	in, out := io.Pipe()
	type result struct {
		info fsm.SnapshotInfo
		err  error
	}
	inspected := make(chan result, 1)
	go func() {
		info, err := fsm.InspectSnapshot(in)
		_, _ = io.Copy(io.Discard, in) // what is wrong with the file itself is to be found, too
		inspected <- result{info, err}
	}()
	meta, err := archive.Read(f, out, 0)
	_ = out.CloseWithError(err)
	state := <-inspected
	if err := judgeFile(name, err); err != nil {
		return snapshotContent{}, err
	}
	if state.err != nil {
		return snapshotContent{}, advise(fmt.Errorf("read the state in %s: %w", name, state.err), "It may be of a newer pgraft: inspect it with the version that saved it.")
	}
	content := snapshotContent{Meta: meta}
	for _, table := range state.info.Tables {
		content.Tables = append(content.Tables, snapshotTable{table.Table, table.Rows})
	}
	if p := state.info.Primacy; p != nil {
		content.Epoch, content.Primary = p.Epoch, p.Primary
	}
	return content, nil
}

func writeContent(w io.Writer, content snapshotContent) error {
	if content.Epoch > 0 {
		fmt.Fprintf(w, "\nPostgreSQL: epoch %d, the primary is server %s\n", content.Epoch, orDash(content.Primary))
	}
	fmt.Fprintln(w)
	t := newTable("TABLE", "ROWS")
	for _, table := range content.Tables {
		t.add(table.Name, fmt.Sprint(table.Rows))
	}
	return t.write(w)
}

func verifyFile(name string) (archive.Meta, error) {
	f, err := os.Open(name)
	if err != nil {
		return archive.Meta{}, fmt.Errorf("open snapshot: %w", err)
	}
	defer f.Close()
	meta, err := archive.Verify(f)
	return meta, judgeFile(name, err)
}

// judgeFile words what reading a snapshot's file has given.
func judgeFile(name string, err error) error {
	if errors.Is(err, archive.ErrInvalid) {
		return advise(fmt.Errorf("verify %s: %w", name, err), "The file is damaged or no snapshot: take another one.")
	}
	if err != nil {
		return fmt.Errorf("verify %s: %w", name, err)
	}
	return nil
}
