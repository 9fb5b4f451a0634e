package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/pgraft/pgraft/api/archive"
)

type snapshotInspectCmd struct{ output }

func (c *snapshotInspectCmd) spec() spec {
	return spec{
		name: "snapshot inspect", args: "FILE", minArgs: 1, maxArgs: 1,
		synopsis: "Verify a snapshot file and show what it is",
		help:     "Needs no agent. Exit code 1 if a single byte of the file is not what was saved.",
		examples: []string{"pgraft snapshot inspect backup.snap"},
	}
}

func (c *snapshotInspectCmd) flags(fs *flag.FlagSet) { c.output.flags(fs) }

func (c *snapshotInspectCmd) run(_ context.Context, x *call) error {
	meta, err := verifyFile(x.args[0])
	if err != nil {
		return err
	}
	return c.print(x.stdout, meta, func(w io.Writer) error { return writeSnapshotMeta(w, meta) })
}

func verifyFile(name string) (archive.Meta, error) {
	f, err := os.Open(name)
	if err != nil {
		return archive.Meta{}, fmt.Errorf("open snapshot: %w", err)
	}
	defer f.Close()
	meta, err := archive.Verify(f)
	if errors.Is(err, archive.ErrInvalid) {
		return archive.Meta{}, advise(fmt.Errorf("verify %s: %w", name, err), "The file is damaged or no snapshot: take another one.")
	}
	if err != nil {
		return archive.Meta{}, fmt.Errorf("verify %s: %w", name, err)
	}
	return meta, nil
}
