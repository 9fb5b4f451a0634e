package fsm

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// The applier's statements, each for any number of rows. A pipeline of them may name a row once only.
const (
	advanceSQL = "SELECT pgraft.advance($1, $2, $3, $4)"

	kvDeleteSQL = "DELETE FROM pgraft.kv WHERE key = ANY ($1::text[])"
	kvUpsertSQL = `INSERT INTO pgraft.kv AS t
		(key, value, value_bytes, flags, version, create_index, modify_index, session)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[])
		ON CONFLICT (key) DO UPDATE SET
		(value, value_bytes, flags, version, create_index, modify_index, session) =
		(excluded.value, excluded.value_bytes, excluded.flags, excluded.version, excluded.create_index, excluded.modify_index, excluded.session)`

	nodeDeleteSQL = "DELETE FROM pgraft.node WHERE name = ANY ($1::text[])"
	nodeUpsertSQL = `INSERT INTO pgraft.node AS t
		(node_id, name, server_id, raft_address, gossip_address, http_address, postgres_address, version, zone,
		 non_voting, witness, create_index, modify_index)
		SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
		 $9::text[], $10::bool[], $11::bool[], $12::bigint[], $13::bigint[])
		ON CONFLICT (node_id) DO UPDATE SET
		(name, server_id, raft_address, gossip_address, http_address, postgres_address, version, zone,
		 non_voting, witness, create_index, modify_index) =
		(excluded.name, excluded.server_id, excluded.raft_address, excluded.gossip_address, excluded.http_address,
		 excluded.postgres_address, excluded.version, excluded.zone, excluded.non_voting, excluded.witness,
		 excluded.create_index, excluded.modify_index)
		WHERE t.* IS DISTINCT FROM excluded.*`

	settingDeleteSQL = "DELETE FROM pgraft.setting WHERE name = ANY ($1::text[])"
	settingUpsertSQL = `INSERT INTO pgraft.setting AS t (name, value, create_index, modify_index)
		SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
		ON CONFLICT (name) DO UPDATE SET (value, create_index, modify_index) =
		(excluded.value, excluded.create_index, excluded.modify_index)
		WHERE t.* IS DISTINCT FROM excluded.*`

	eventDeleteSQL = "DELETE FROM pgraft.event WHERE index = ANY ($1::text[]::bigint[])"
	eventUpsertSQL = `INSERT INTO pgraft.event AS t (index, "time", type, node, message, data)
		SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
		ON CONFLICT (index) DO UPDATE SET ("time", type, node, message, data) =
		(excluded."time", excluded.type, excluded.node, excluded.message, excluded.data)
		WHERE t.* IS DISTINCT FROM excluded.*`
)

// statement is one statement of a pipeline with its arguments.
type statement struct {
	sql  string
	args []any
}

// rowWriter collects the statements that one transaction sends.
type rowWriter struct{ statements []statement }

func (w *rowWriter) add(sql string, args ...any) {
	w.statements = append(w.statements, statement{sql, args})
}

// guard puts the move of the applied index before everything else, so that nothing is written from the wrong place.
func (w *rowWriter) guard(from, to position, cluster string) *rowWriter {
	advance := statement{advanceSQL, []any{bigint(from.index), bigint(to.index), bigint(to.term), cluster}}
	w.statements = append([]statement{advance}, w.statements...)
	return w
}

func (w *rowWriter) batch() *pgx.Batch {
	b := &pgx.Batch{}
	for _, s := range w.statements {
		b.Queue(s.sql, s.args...)
	}
	return b
}

// writeRows returns the statements that write rows, no two of which are the same row. Deletes come first: they may free
// a unique value.
func writeRows(rows []Row) *rowWriter {
	deleted := map[Table][]string{}
	var kv kvColumns
	var node nodeColumns
	var setting settingColumns
	var event eventColumns
	for _, r := range rows {
		switch {
		case r.KV != nil:
			kv.add(r)
		case r.Node != nil:
			node.add(r.Node)
		case r.Setting != nil:
			setting.add(r)
		case r.Event != nil:
			event.add(r)
		default:
			deleted[r.Table] = append(deleted[r.Table], pgText(r.Key))
		}
	}
	w := &rowWriter{}
	deletes(w, deleted)
	kv.upsert(w)
	node.upsert(w)
	setting.upsert(w)
	event.upsert(w)
	return w
}

func deletes(w *rowWriter, deleted map[Table][]string) {
	for _, t := range []struct {
		table Table
		sql   string
	}{
		{TableKV, kvDeleteSQL}, {TableNode, nodeDeleteSQL}, {TableSetting, settingDeleteSQL}, {TableEvent, eventDeleteSQL},
	} {
		if keys := deleted[t.table]; len(keys) > 0 {
			w.add(t.sql, keys)
		}
	}
}

// The columns of each table, as arrays for unnest.

type kvColumns struct {
	keys                            []string
	texts                           []*string
	bytes                           [][]byte
	flags, versions, creates, moves []int64
	sessions                        []*string
}

func (c *kvColumns) add(r Row) {
	text, raw := splitValue(r.KV.Value)
	c.keys = append(c.keys, pgText(r.Key))
	c.texts = append(c.texts, text)
	c.bytes = append(c.bytes, raw)
	c.flags = append(c.flags, int64(r.KV.Flags))
	c.versions = append(c.versions, int64(r.KV.Version))
	c.creates = append(c.creates, int64(r.KV.CreateIndex))
	c.moves = append(c.moves, int64(r.KV.ModifyIndex))
	c.sessions = append(c.sessions, nullable(r.KV.Session))
}

func (c *kvColumns) upsert(w *rowWriter) {
	if len(c.keys) > 0 {
		w.add(kvUpsertSQL, c.keys, c.texts, c.bytes, c.flags, c.versions, c.creates, c.moves, c.sessions)
	}
}

type nodeColumns struct {
	ids                []int32
	texts              [8][]string // name to zone, in the order of the statement
	nonVoting, witness []bool
	creates, moves     []int64
}

func (c *nodeColumns) add(n *Node) {
	c.ids = append(c.ids, int32(n.NodeID))
	for i, text := range [...]string{
		n.Name, n.ServerID, n.RaftAddress, n.GossipAddress, n.HTTPAddress, n.PostgresAddress, n.Version, n.Zone,
	} {
		c.texts[i] = append(c.texts[i], pgText(text))
	}
	c.nonVoting = append(c.nonVoting, n.NonVoting)
	c.witness = append(c.witness, n.Witness)
	c.creates = append(c.creates, int64(n.CreateIndex))
	c.moves = append(c.moves, int64(n.ModifyIndex))
}

func (c *nodeColumns) upsert(w *rowWriter) {
	if len(c.ids) == 0 {
		return
	}
	args := []any{c.ids}
	for _, texts := range c.texts {
		args = append(args, texts)
	}
	w.add(nodeUpsertSQL, append(args, c.nonVoting, c.witness, c.creates, c.moves)...)
}

type settingColumns struct {
	names, values  []string
	creates, moves []int64
}

func (c *settingColumns) add(r Row) {
	c.names = append(c.names, pgText(r.Key))
	c.values = append(c.values, pgText(r.Setting.Value))
	c.creates = append(c.creates, int64(r.Setting.CreateIndex))
	c.moves = append(c.moves, int64(r.Setting.ModifyIndex))
}

func (c *settingColumns) upsert(w *rowWriter) {
	if len(c.names) > 0 {
		w.add(settingUpsertSQL, c.names, c.values, c.creates, c.moves)
	}
}

type eventColumns struct {
	indexes         []int64
	times           []time.Time
	types, messages []string
	nodes, data     []*string
}

func (c *eventColumns) add(r Row) {
	e := r.Event
	c.indexes = append(c.indexes, int64(e.Index))
	c.times = append(c.times, e.Time)
	c.types = append(c.types, pgText(e.Type))
	c.nodes = append(c.nodes, nullable(e.Node))
	c.messages = append(c.messages, pgText(e.Message))
	c.data = append(c.data, pgJSON(e.Data))
}

func (c *eventColumns) upsert(w *rowWriter) {
	if len(c.indexes) > 0 {
		w.add(eventUpsertSQL, c.indexes, c.times, c.types, c.nodes, c.messages, c.data)
	}
}

// splitValue tells in which column a value goes: value where PostgreSQL takes it as text, else value_bytes.
func splitValue(value []byte) (text *string, raw []byte) {
	if !utf8.Valid(value) || bytes.IndexByte(value, 0) >= 0 {
		return nil, value
	}
	s := string(value)
	return &s, nil
}

// pgText returns s as PostgreSQL takes it. All texts in the store are so already (see Validate); if ever one is not,
// a replacement character in a row is better than an applier that can't go on.
func pgText(s string) string {
	if isText(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// nullable returns nil, SQL's NULL, for an empty text.
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	s = pgText(s)
	return &s
}

func pgJSON(data map[string]string) *string {
	if len(data) == 0 {
		return nil
	}
	clean := make(map[string]string, len(data))
	for k, v := range data {
		clean[pgText(k)] = pgText(v)
	}
	raw, err := json.Marshal(clean)
	if err != nil { // a map of strings has no way to fail
		return nil
	}
	text := string(raw)
	return &text
}

// bigint is an unsigned number in a column of PostgreSQL, which has none: above 2^63 it turns up negative there, and
// comes back right.
type bigint uint64

// Value implements driver.Valuer.
func (b bigint) Value() (driver.Value, error) { return int64(b), nil }

// Scan implements sql.Scanner.
func (b *bigint) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("read bigint: unexpected %T", src)
	}
	*b = bigint(n)
	return nil
}
