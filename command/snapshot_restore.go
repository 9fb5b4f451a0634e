package command

import (
	"context"
	"fmt"
	"os"

	"github.com/pgraft/pgraft/api"
)

type snapshotRestoreCmd struct{ connection }

func (c *snapshotRestoreCmd) spec() spec {
	return spec{
		name: "snapshot restore", args: "FILE", minArgs: 1, maxArgs: 1,
		synopsis: "Replace the replicated state by a saved one",
		help: "Keys, settings, sessions and events of the whole cluster become what they were when the snapshot was taken, on " +
			"every node and in every PostgreSQL. The file is verified before anything is sent. Take a snapshot of the present " +
			"state first.",
		examples: []string{"pgraft snapshot save now.snap && pgraft snapshot restore backup.snap"},
	}
}

func (c *snapshotRestoreCmd) run(ctx context.Context, x *call) error {
	meta, err := verifyFile(x.args[0])
	if err != nil {
		return err
	}
	f, err := os.Open(x.args[0])
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	progress := newProgress(x.stderr, "bytes")
	err = c.do(ctx, func(ctx context.Context, client *api.Client) error {
		return client.SnapshotRestore(ctx, &countingReader{Reader: f, total: info.Size(), progress: progress})
	})
	progress.done()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(x.stdout, "Restored: the state of index %d, taken %s\n", meta.Index, meta.CreatedAt.Local().Format("2006-01-02 15:04:05"))
	return err
}
