package fsm

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgraft/pgraft/api"
)

// diff brings the rows to the store's present state, whatever they were, in one transaction together with the index.
// Readers see the old state or the new one.
func (s *applierSession) diff(ctx context.Context) error {
	store := s.cfg.FSM.Store().Snapshot()
	if id := store.ClusterID(); id != s.cluster {
		return fmt.Errorf("write difference: the store is now of cluster %q, was %q", id, s.cluster)
	}
	s.cfg.Logger.Info("writing the difference between the cluster's state and PostgreSQL",
		"from_index", s.at.index, "to_index", store.Index())
	s.status.change(func(c *ApplierStatus) { c.Diffing = true })
	var to position
	to.index, to.term = store.Applied()
	d := differ{ctx: ctx, store: store}
	err := pgx.BeginTxFunc(ctx, s.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		d.tx = tx
		return d.run(s.at, to, s.cluster)
	})
	s.status.change(func(c *ApplierStatus) { c.Diffing = false })
	if err != nil {
		return fmt.Errorf("write difference to index %d: %w", to.index, err)
	}
	s.at = to
	s.reached(to)
	s.status.change(func(c *ApplierStatus) { c.Rows, c.Batches, c.Diffs = c.Rows+d.rows, c.Batches+1, c.Diffs+1 })
	s.status.success()
	s.cfg.Logger.Info("wrote the difference", "applied_index", to.index, "rows", d.rows)
	return nil
}

// differ writes the difference between a store's snapshot and the rows that a transaction sees.
type differ struct {
	ctx   context.Context
	tx    pgx.Tx
	store *Store
	rows  uint64 // written
}

func (d *differ) run(from, to position, cluster string) error {
	if err := d.moveIndex(from, to, cluster); err != nil {
		return err
	}
	kv, err := d.kv()
	if err != nil {
		return err
	}
	if err := d.write(kv); err != nil {
		return err
	}
	return d.smallTables()
}

// moveIndex sets the index first, which locks the row. Unlike pgraft.advance it may set it back, which is what a
// rewritten history needs.
func (d *differ) moveIndex(from, to position, cluster string) error {
	tag, err := d.tx.Exec(d.ctx, `UPDATE pgraft.meta
		   SET applied_index = $1, applied_term = $2, updated_at = clock_timestamp()
		 WHERE applied_index = $3 AND applied_term = $4 AND cluster_id = $5`,
		bigint(to.index), bigint(to.term), bigint(from.index), bigint(from.term), cluster)
	if err != nil {
		return fmt.Errorf("set applied index: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("set applied index: it is not %d of cluster %s any more: somebody else writes to the database", from.index, cluster)
	}
	return nil
}

const kvOrderedSQL = `SELECT key, value, value_bytes, flags, version, create_index, modify_index, session
	FROM pgraft.kv ORDER BY key COLLATE "C"`

// kv merges the keys of the store with those in the table, both in byte order, and returns what has to be written.
func (d *differ) kv() ([]Row, error) {
	_, pairs := d.store.KVList(nil, "")
	var changed []Row
	next := 0
	rows, err := d.tx.Query(d.ctx, kvOrderedSQL)
	if err != nil {
		return nil, fmt.Errorf("read table kv: %w", err)
	}
	var there kvRow
	_, err = pgx.ForEachRow(rows, there.targets(), func() error {
		for next < len(pairs) && pairs[next].Key < there.key {
			changed = append(changed, kvRowOf(&pairs[next]))
			next++
		}
		if next == len(pairs) || pairs[next].Key != there.key {
			changed = append(changed, Row{Table: TableKV, Key: there.key})
			return nil
		}
		if !there.equals(&pairs[next]) {
			changed = append(changed, kvRowOf(&pairs[next]))
		}
		next++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read table kv: %w", err)
	}
	for ; next < len(pairs); next++ {
		changed = append(changed, kvRowOf(&pairs[next]))
	}
	return changed, nil
}

func kvRowOf(p *api.KVPair) Row { return Row{Table: TableKV, Key: p.Key, KV: p} }

// kvRow is a row of table kv as it is in PostgreSQL.
type kvRow struct {
	key                          string
	text, session                *string
	raw                          []byte
	flags, version, create, move bigint
}

func (r *kvRow) targets() []any {
	return []any{&r.key, &r.text, &r.raw, &r.flags, &r.version, &r.create, &r.move, &r.session}
}

func (r *kvRow) equals(p *api.KVPair) bool {
	if uint64(r.move) != p.ModifyIndex || uint64(r.version) != p.Version || uint64(r.create) != p.CreateIndex ||
		uint64(r.flags) != p.Flags || !sameText(r.session, nullable(p.Session)) {
		return false
	}
	text, raw := splitValue(p.Value)
	return sameText(r.text, text) && (r.raw == nil) == (raw == nil) && bytes.Equal(r.raw, raw)
}

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// write writes rows in bites that neither side has to hold much for.
func (d *differ) write(rows []Row) error {
	for len(rows) > 0 {
		n := biteSize(rows)
		if err := d.send(writeRows(rows[:n])); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
		d.rows += uint64(n)
		rows = rows[n:]
	}
	return nil
}

func biteSize(rows []Row) int {
	size := 0
	for i, r := range rows {
		size += r.size()
		if i > 0 && (i == applierMaxRows || size > applierMaxBytes) {
			return i
		}
	}
	return len(rows)
}

func (d *differ) send(w *rowWriter) error { return d.tx.SendBatch(d.ctx, w.batch()).Close() }

// smallTables has PostgreSQL find the difference: rows whose key isn't in the store go, and the upserts leave alone what
// is the same.
func (d *differ) smallTables() error {
	_, nodes := d.store.Nodes(nil)
	_, settings := d.store.Settings(nil)
	_, events := d.store.Events(nil, 0, 0)
	var rows []Row
	ids, names, indexes := []int32{}, []string{}, []int64{} // not nil: nothing differs from all of SQL's NULL
	for i := range nodes {
		rows = append(rows, Row{Table: TableNode, Key: nodes[i].Name, Node: &nodes[i]})
		ids = append(ids, int32(nodes[i].NodeID))
	}
	for i := range settings {
		rows = append(rows, Row{Table: TableSetting, Key: settings[i].Name, Setting: &settings[i]})
		names = append(names, pgText(settings[i].Name))
	}
	for i := range events {
		rows = append(rows, Row{Table: TableEvent, Key: EventKey(events[i].Index), Event: &events[i]})
		indexes = append(indexes, int64(events[i].Index))
	}
	w := &rowWriter{}
	w.add("DELETE FROM pgraft.node WHERE node_id <> ALL ($1::int[])", ids)
	w.add("DELETE FROM pgraft.setting WHERE name <> ALL ($1::text[])", names)
	w.add("DELETE FROM pgraft.event WHERE index <> ALL ($1::bigint[])", indexes)
	if err := d.send(w); err != nil {
		return fmt.Errorf("delete stale rows: %w", err)
	}
	return d.write(rows)
}
