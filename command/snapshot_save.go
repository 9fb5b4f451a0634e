package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/api/archive"
)

type snapshotSaveCmd struct {
	asking
	stale bool
}

func (c *snapshotSaveCmd) spec() spec {
	return spec{
		name: "snapshot save", args: "FILE", minArgs: 1, maxArgs: 1,
		synopsis: "Save the replicated state to a file",
		help: "The state is the registry, keys, sessions, settings and events: not PostgreSQL's data. The file is a gzip tar with " +
			"checksums; it is read back and verified before it gets its name, so FILE is whole or not there.",
		examples: []string{"pgraft snapshot save backup-$(date +%F).snap"},
	}
}

func (c *snapshotSaveCmd) flags(fs *flag.FlagSet) {
	c.asking.flags(fs)
	fs.BoolVar(&c.stale, "stale", false, "take the asked agent's state, also without a leader: it may lack the latest changes")
}

func (c *snapshotSaveCmd) run(ctx context.Context, x *call) error {
	var meta archive.Meta
	err := c.do(ctx, func(ctx context.Context, client *api.Client) error {
		var err error
		meta, err = saveVerified(x.args[0], func(w io.Writer) error {
			progress := newProgress(x.stderr, "bytes")
			defer progress.done()
			_, err := client.SnapshotSave(ctx, &countingWriter{Writer: w, progress: progress}, api.QueryOptions{Stale: c.stale})
			return err
		})
		return err
	})
	if err != nil {
		return err
	}
	return c.print(x.stdout, meta, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Saved and verified: %s, index %d\n", x.args[0], meta.Index)
		return err
	})
}

// saveVerified gives name what fetch writes, once it is proven to be a whole archive and on disk.
func saveVerified(name string, fetch func(io.Writer) error) (archive.Meta, error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".part-")
	if err != nil {
		return archive.Meta{}, fmt.Errorf("create snapshot file: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := fetch(f); err != nil {
		return archive.Meta{}, err
	}
	if err := f.Sync(); err != nil {
		return archive.Meta{}, fmt.Errorf("write snapshot file: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return archive.Meta{}, fmt.Errorf("read snapshot file back: %w", err)
	}
	meta, err := archive.Verify(f)
	if err != nil {
		return archive.Meta{}, advise(fmt.Errorf("verify what was received: %w", err), "Nothing was saved. Try again.")
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return archive.Meta{}, fmt.Errorf("name snapshot file: %w", err)
	}
	return meta, nil
}

func writeSnapshotMeta(w io.Writer, m archive.Meta) error {
	t := newTable("FIELD", "VALUE")
	t.add("id", m.ID)
	t.add("cluster", fmt.Sprintf("%s (%s)", m.ClusterName, orDash(m.ClusterID)))
	t.add("index", fmt.Sprint(m.Index))
	t.add("term", fmt.Sprint(m.Term))
	t.add("taken", m.CreatedAt.Local().Format(time.DateTime)+" by "+m.NodeName)
	t.add("size", bytesText(m.Size))
	t.add("pgraft", m.Pgraft)
	t.add("format", fmt.Sprint(m.Version))
	return t.write(w)
}
