package fsm_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func TestKVSetGet(t *testing.T) {
	m := newMachine(t)
	equal(t, "version of a new key", m.one(fsm.KVSet{Key: "a", Value: []byte("1"), Flags: 7}).Version, 1)
	equal(t, "version of a changed key", m.one(set("a", "22")).Version, 2)

	index, pair := m.Store().KVGet(nil, "a")
	if pair == nil {
		t.Fatal("key a is missing")
	}
	equal(t, "index", index, 2)
	equal(t, "value", string(pair.Value), "22")
	equal(t, "flags", pair.Flags, 0)
	equal(t, "create index", pair.CreateIndex, 1)
	equal(t, "modify index", pair.ModifyIndex, 2)

	keys, bytes := m.Store().KVStats(nil)
	equal(t, "keys", keys, 1)
	equal(t, "bytes", bytes, 3)

	pair.Version = 99
	if _, again := m.Store().KVGet(nil, "a"); again.Version != 2 {
		t.Error("a caller changed the store through what KVGet returned")
	}
}

func TestKVCond(t *testing.T) {
	for _, tc := range []struct {
		name string
		cond fsm.Cond
		key  string // exists at version 2, modify index 2
		code string
	}{
		{"version matches", fsm.Cond{Kind: fsm.CondVersion, Number: 2}, "a", ""},
		{"version differs", fsm.Cond{Kind: fsm.CondVersion, Number: 1}, "a", api.CodePrecondition},
		{"index matches", fsm.Cond{Kind: fsm.CondModifyIndex, Number: 3}, "a", ""},
		{"index differs", fsm.Cond{Kind: fsm.CondModifyIndex, Number: 2}, "a", api.CodePrecondition},
		{"must not exist and does", fsm.Cond{Kind: fsm.CondModifyIndex}, "a", api.CodePrecondition},
		{"must not exist and does, version", fsm.Cond{Kind: fsm.CondVersion}, "a", api.CodePrecondition},
		{"must not exist", fsm.Cond{Kind: fsm.CondVersion}, "b", ""},
		{"must exist", fsm.Cond{Kind: fsm.CondVersion, Number: 1}, "b", api.CodePrecondition},
		{"unknown kind", fsm.Cond{Kind: 9}, "a", api.CodeBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, op := range []fsm.Op{
				fsm.KVSet{Key: tc.key, Value: []byte("new"), Cond: tc.cond},
				fsm.KVDelete{Key: tc.key, Cond: tc.cond},
			} {
				m := newMachine(t)
				m.one(fsm.Noop{})
				m.one(set("a", "1"))
				m.one(set("a", "2"))
				before, _ := m.Store().KVList(nil, "")
				result := m.apply(op)[0]
				equal(t, fmt.Sprintf("%T code", op), result.Code, tc.code)
				after, _ := m.Store().KVList(nil, "")
				if tc.code != "" && before != after {
					t.Errorf("%T was refused and changed the index from %d to %d", op, before, after)
				}
			}
		})
	}
}

func TestKVListAndKeys(t *testing.T) {
	m := newMachine(t)
	for _, key := range []string{"a", "dir/x", "dir/sub/1", "dir/sub/2", "dirt", "é", "z"} {
		m.one(set(key, key))
	}
	index, pairs := m.Store().KVList(nil, "dir/")
	equal(t, "index", index, 4)
	var keys []string
	for _, p := range pairs {
		keys = append(keys, p.Key)
	}
	equal(t, "list", strings.Join(keys, " "), "dir/sub/1 dir/sub/2 dir/x")

	for _, tc := range []struct{ prefix, separator, want string }{
		{"", "", "a dir/sub/1 dir/sub/2 dir/x dirt z é"},
		{"", "/", "a dir/ dirt z é"},
		{"dir/", "/", "dir/sub/ dir/x"},
		{"dir", "/", "dir/ dirt"},
		{"none", "/", ""},
	} {
		_, keys := m.Store().KVKeys(nil, tc.prefix, tc.separator)
		equal(t, fmt.Sprintf("keys %q %q", tc.prefix, tc.separator), strings.Join(keys, " "), tc.want)
	}
}

func TestKVDelete(t *testing.T) {
	m := newMachine(t)
	for _, key := range []string{"a", "b/1", "b/2", "c"} {
		m.one(set(key, "v"))
	}
	equal(t, "deleted", m.one(fsm.KVDelete{Key: "none"}).Deleted, 0)
	equal(t, "deleted", m.one(fsm.KVDelete{Key: "a"}).Deleted, 1)
	equal(t, "deleted by prefix", m.one(fsm.KVDelete{Key: "b/", Prefix: true}).Deleted, 2)
	_, keys := m.Store().KVKeys(nil, "", "")
	equal(t, "left", strings.Join(keys, " "), "c")
	equal(t, "deleted all", m.one(fsm.KVDelete{Prefix: true}).Deleted, 1)
	n, bytes := m.Store().KVStats(nil)
	equal(t, "keys", n, 0)
	equal(t, "bytes", bytes, 0)
	equal(t, "version after a delete", m.one(set("a", "v")).Version, 1)
}

func TestIndexNeverGoesDown(t *testing.T) {
	m := newMachine(t)
	reads := map[string]func() uint64{
		"get":  func() uint64 { i, _ := m.Store().KVGet(nil, "p/gone"); return i },
		"list": func() uint64 { i, _ := m.Store().KVList(nil, "p/"); return i },
		"keys": func() uint64 { i, _ := m.Store().KVKeys(nil, "p/", "/"); return i },
		"all":  func() uint64 { i, _ := m.Store().KVList(nil, ""); return i },
	}
	last := map[string]uint64{}
	check := func() {
		t.Helper()
		for name, read := range reads {
			if index := read(); index < last[name] || index == 0 {
				t.Fatalf("%s: index went from %d to %d at %d", name, last[name], index, m.index)
			} else {
				last[name] = index
			}
		}
	}
	check()
	m.one(set("p/kept", "v"))
	m.one(set("p/gone", "v"))
	check()
	m.one(fsm.KVDelete{Key: "p/gone"})
	check()
	equal(t, "index of the deleted key", last["get"], 3)
	// Push the tombstone out: the floor must take its place.
	for i := 0; i < fsm.MaxTombstones+10; i += 100 {
		var ops []fsm.Op
		for j := range 100 {
			key := fmt.Sprintf("q/%d", i+j)
			ops = append(ops, set(key, ""), fsm.KVDelete{Key: key})
		}
		m.apply(ops...)
		check()
	}
	m.restore(m.bytes())
	check()
	m.one(set("p/gone", "v"))
	check()
}

func TestLocks(t *testing.T) {
	m := newMachine(t)
	m.one(fsm.SessionCreate{ID: "s1", LockDelay: time.Second})
	m.one(fsm.SessionCreate{ID: "s2"})
	acquire := func(key, session string) fsm.Op { return fsm.KVSet{Key: key, Acquire: session} }

	m.refused(api.CodeNotFound, acquire("k", "unknown"))
	m.one(acquire("k", "s1"))
	m.refused(api.CodeConflict, acquire("k", "s2"))
	m.one(acquire("k", "s1"))
	m.one(set("k", "written by another"))
	_, pair := m.Store().KVGet(nil, "k")
	equal(t, "holder after a plain write", pair.Session, "s1")
	equal(t, "lock index", pair.LockIndex, 1)

	m.refused(api.CodeConflict, fsm.KVSet{Key: "k", Release: "s2"})
	m.refused(api.CodeConflict, fsm.KVSet{Key: "none", Release: "s2"})
	m.refused(api.CodeBadRequest, fsm.KVSet{Key: "k", Release: "s1", Acquire: "s2"})
	m.one(fsm.KVSet{Key: "k", Release: "s1"})
	m.one(acquire("k", "s2"))
	_, pair = m.Store().KVGet(nil, "k")
	equal(t, "lock index", pair.LockIndex, 2)
}

func TestSessionDestroy(t *testing.T) {
	for _, tc := range []struct {
		behavior string
		deleted  uint64
		exists   bool
	}{{"", 0, true}, {fsm.BehaviorRelease, 0, true}, {fsm.BehaviorDelete, 2, false}} {
		t.Run("behavior "+tc.behavior, func(t *testing.T) {
			m := newMachine(t)
			m.one(fsm.SessionCreate{ID: "s", Behavior: tc.behavior, TTL: 10 * time.Second})
			m.refused(api.CodeConflict, fsm.SessionCreate{ID: "s"})
			m.one(fsm.KVSet{Key: "a", Acquire: "s"})
			m.one(fsm.KVSet{Key: "b", Acquire: "s"})
			m.one(set("c", "not locked"))
			_, sessions := m.Store().SessionList(nil)
			equal(t, "ttl", sessions[0].TTL, "10s")
			result := m.one(fsm.SessionDestroy{ID: "s", Expired: true})
			equal(t, "deleted", result.Deleted, tc.deleted)
			index, pair := m.Store().KVGet(nil, "a")
			equal(t, "key exists", pair != nil, tc.exists)
			equal(t, "index", index, result.Index)
			if pair != nil {
				equal(t, "holder", pair.Session, "")
				equal(t, "version", pair.Version, 2)
			}
			if _, s := m.Store().SessionGet(nil, "s"); s != nil {
				t.Error("session is still there")
			}
			m.one(fsm.SessionDestroy{ID: "s"})
		})
	}
}

func TestLockDelay(t *testing.T) {
	const delay = 10 * time.Second
	for _, tc := range []struct {
		name  string
		steps []time.Duration // of the clock after the destroy, each followed by a try
		codes []string
	}{
		{"at once", []time.Duration{0}, []string{api.CodeConflict}},
		{"just before", []time.Duration{delay - time.Second}, []string{api.CodeConflict}},
		{"after", []time.Duration{delay}, []string{""}},
		{"clock an hour back", []time.Duration{-time.Hour, delay / 2, delay / 2}, []string{api.CodeConflict, api.CodeConflict, ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			m.one(fsm.SessionCreate{ID: "old", LockDelay: delay})
			m.one(fsm.SessionCreate{ID: "new"})
			m.one(fsm.KVSet{Key: "k", Acquire: "old"})
			m.one(fsm.SessionDestroy{ID: "old"})
			for i, step := range tc.steps {
				m.now = m.now.Add(step)
				result := m.apply(fsm.KVSet{Key: "k", Acquire: "new"})[0]
				equal(t, fmt.Sprintf("try %d", i), result.Code, tc.codes[i])
				m.restore(m.bytes())
			}
		})
	}
}

func TestValidate(t *testing.T) {
	long := strings.Repeat("x", fsm.MaxKeySize+1)
	big := make([]byte, fsm.MaxValueSize+1)
	for _, tc := range []struct {
		name string
		op   fsm.Op
		code string
	}{
		{"empty key", set("", ""), api.CodeBadRequest},
		{"long key", set(long, ""), api.CodeTooLarge},
		{"longest key", set(long[1:], ""), ""},
		{"key not UTF-8", set("\xff", ""), api.CodeBadRequest},
		{"key with NUL", set("a\x00b", ""), api.CodeBadRequest},
		{"big value", fsm.KVSet{Key: "k", Value: big}, api.CodeTooLarge},
		{"biggest value", fsm.KVSet{Key: "k", Value: big[1:]}, ""},
		{"prefix delete of all", fsm.KVDelete{Prefix: true}, ""},
		{"prefix delete with condition", fsm.KVDelete{Prefix: true, Cond: fsm.Cond{Kind: fsm.CondVersion}}, api.CodeBadRequest},
		{"short ttl", fsm.SessionCreate{ID: "s", TTL: time.Millisecond}, api.CodeBadRequest},
		{"long lock delay", fsm.SessionCreate{ID: "s", LockDelay: time.Hour}, api.CodeBadRequest},
		{"behavior", fsm.SessionCreate{ID: "s", Behavior: "explode"}, api.CodeBadRequest},
		{"no session id", fsm.SessionDestroy{}, api.CodeBadRequest},
		{"node without name", fsm.NodeRegister{Node: fsm.Node{ServerID: "x"}}, api.CodeBadRequest},
		{"node id too high", fsm.NodeBind{Name: "n", NodeID: 1 << 31}, api.CodeBadRequest},
		{"node id 0", fsm.NodeBind{Name: "n"}, api.CodeBadRequest},
		{"setting name", fsm.SettingSet{Value: "v"}, api.CodeBadRequest},
		{"setting value", fsm.SettingSet{Name: "n", Value: string(big)}, api.CodeTooLarge},
		{"event type", fsm.EventAppend{Message: "m"}, api.CodeBadRequest},
		{"event data", fsm.EventAppend{Type: "t", Data: map[string]string{"a": "\x00"}}, api.CodeBadRequest},
		{"event size", fsm.EventAppend{Type: "t", Message: string(big)}, api.CodeTooLarge},
		{"noop data", fsm.Noop{Data: big}, api.CodeTooLarge},
		{"request id", fsm.Noop{Request: fsm.Request{ID: long}}, api.CodeTooLarge},
		{"nothing", nil, api.CodeBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := fsm.Validate(tc.op)
			if tc.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var apiErr *api.Error
			if !errors.As(err, &apiErr) || apiErr.Code != tc.code {
				t.Fatalf("got %#v, want code %s", err, tc.code)
			}
			if _, err := fsm.EncodeOp(tc.op); err == nil && !strings.HasPrefix(tc.name, "request") {
				newMachine(t).refused(tc.code, tc.op)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	m := newMachine(t)
	m.one(fsm.SettingSet{Name: "b", Value: "1"})
	m.one(fsm.SettingSet{Name: "a", Value: "2"})
	m.one(fsm.SettingSet{Name: "b", Value: "3"})
	index, settings := m.Store().Settings(nil)
	equal(t, "index", index, 3)
	want := []api.Setting{{Name: "a", Value: "2", CreateIndex: 2, ModifyIndex: 2}, {Name: "b", Value: "3", CreateIndex: 1, ModifyIndex: 3}}
	if !slices.Equal(settings, want) {
		t.Errorf("got %+v, want %+v", settings, want)
	}
	equal(t, "deleted", m.one(fsm.SettingDelete{Name: "b"}).Deleted, 1)
	equal(t, "deleted again", m.one(fsm.SettingDelete{Name: "b"}).Deleted, 0)
	index, setting := m.Store().Setting(nil, "b")
	equal(t, "index after the delete", index, 4)
	if setting != nil {
		t.Errorf("deleted setting is there: %+v", setting)
	}
}

func TestEventsKeepTheNewest(t *testing.T) {
	m := newMachine(t)
	for i := range fsm.MaxEvents + 5 {
		m.one(fsm.EventAppend{Type: "test", Message: fmt.Sprint(i)})
	}
	last, events := m.Store().Events(nil, 0, 0)
	equal(t, "last", last, fsm.MaxEvents+5)
	equal(t, "kept", len(events), fsm.MaxEvents)
	equal(t, "oldest", events[0].Index, 6)
	_, events = m.Store().Events(nil, 1000, 2)
	equal(t, "limited", len(events), 2)
	equal(t, "newest", events[1].Index, last)
	copied := map[fsm.Table]map[string]any{}
	changes, _ := m.Feed().Since(0, 0)
	for _, c := range changes {
		copyRows(copied, c.Rows)
	}
	equal(t, "kept by a follower of the feed", len(copied[fsm.TableEvent]), fsm.MaxEvents)
	m.restore(m.bytes())
	m.one(fsm.EventAppend{Type: "test"})
	equal(t, "index after a restore", func() uint64 { i, _ := m.Store().Events(nil, 0, 1); return i }(), last+1)
}

func TestClusterInitOnce(t *testing.T) {
	m := newMachine(t)
	m.one(fsm.ClusterInit{ClusterID: "id-1", ClusterName: "prod"})
	m.refused(api.CodeConflict, fsm.ClusterInit{ClusterID: "id-2"})
	equal(t, "id", m.Store().ClusterID(), "id-1")
	equal(t, "name", m.Store().ClusterName(), "prod")
}
