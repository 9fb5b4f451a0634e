package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
)

func TestPlanStep(t *testing.T) {
	at := func(index, term uint64) position { return position{index, term} }
	cases := []struct {
		name string
		view applierView
		want applierStep
	}{
		{"nothing new", applierView{server: at(7, 2), storeIndex: 7, reaches: true, term: 2, caught: true}, stepIdle},
		{"both new", applierView{reaches: true, caught: true}, stepIdle},
		{"behind", applierView{server: at(7, 2), storeIndex: 9, reaches: true, term: 2, pending: 2, caught: true}, stepApply},
		{"behind, store not caught up", applierView{server: at(7, 2), storeIndex: 9, reaches: true, term: 2, pending: 2}, stepApply},
		{"behind, term not known", applierView{server: at(7, 2), storeIndex: 9, reaches: true, pending: 2}, stepApply},
		{"feed too short", applierView{server: at(7, 2), storeIndex: 9, caught: true}, stepDiff},
		{"feed too short, store not caught up", applierView{server: at(7, 2), storeIndex: 9}, stepDiff},
		{"ahead of a store that replays", applierView{server: at(7, 2), storeIndex: 5, reaches: true}, stepIdle},
		{"ahead of all there is", applierView{server: at(7, 2), storeIndex: 5, reaches: true, caught: true}, stepDiff},
		{"another history", applierView{server: at(7, 2), storeIndex: 7, reaches: true, term: 3, caught: true}, stepDiff},
		{"another history, and behind", applierView{server: at(7, 2), storeIndex: 9, reaches: true, term: 3, pending: 2}, stepDiff},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := planStep(tc.view); got != tc.want {
				t.Fatalf("planStep(%+v) = %d, want %d", tc.view, got, tc.want)
			}
		})
	}
}

func TestCoalesceKeepsTheLastRowOfAKey(t *testing.T) {
	set := func(key, value string) Row {
		return Row{Table: TableKV, Key: key, KV: &api.KVPair{Key: key, Value: []byte(value)}}
	}
	gone := func(table Table, key string) Row { return Row{Table: table, Key: key} }
	rows := coalesce([]Change{
		{Index: 1, Rows: []Row{set("a", "1"), set("b", "1"), set("c", "1")}},
		{Index: 2},
		{Index: 3, Rows: []Row{set("a", "2"), gone(TableKV, "b"), gone(TableSetting, "a")}},
		{Index: 4, Rows: []Row{gone(TableKV, "a"), set("a", "3"), set("b", "2"), gone(TableKV, "c")}},
	})
	var got []string
	for _, r := range rows {
		value := "-"
		if r.KV != nil {
			value = string(r.KV.Value)
		}
		got = append(got, fmt.Sprintf("%s/%s=%s", r.Table, r.Key, value))
	}
	if want := "kv/a=3 kv/b=2 kv/c=- setting/a=-"; strings.Join(got, " ") != want {
		t.Fatalf("got %v, want %s", got, want)
	}
}

func TestLimitBytes(t *testing.T) {
	change := func(size int) Change {
		return Change{Rows: []Row{{Table: TableKV, KV: &api.KVPair{Value: make([]byte, size)}}}}
	}
	cases := []struct {
		name    string
		changes []Change
		want    int
	}{
		{"all fit", []Change{change(40), change(60)}, 2},
		{"the rest waits", []Change{change(40), change(60), change(1)}, 2},
		{"a big one goes alone", []Change{change(500), change(1)}, 1},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := len(limitBytes(tc.changes, 100)); got != tc.want {
				t.Fatalf("got %d changes, want %d", got, tc.want)
			}
		})
	}
}

func TestSplitValue(t *testing.T) {
	cases := []struct {
		name, value string
		text        bool
	}{
		{"empty", "", true},
		{"text", "grüß dich", true},
		{"NUL", "a\x00b", false},
		{"not UTF-8", "\xff\xfe", false},
		{"cut rune", "gr\xc3", false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			text, raw := splitValue([]byte(tc.value))
			if (text != nil) != tc.text || (raw != nil) == tc.text {
				t.Fatalf("splitValue(%q) = %v, %v", tc.value, text, raw)
			}
			if tc.text && *text != tc.value || !tc.text && string(raw) != tc.value {
				t.Fatalf("splitValue(%q) changed the value", tc.value)
			}
		})
	}
}

func TestPGText(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "a\x00b": "a\uFFFDb", "\xffx": "\uFFFDx", "": ""} {
		if got := pgText(in); got != want {
			t.Fatalf("pgText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFeedBehind(t *testing.T) {
	f := newFeed()
	if n, age := f.behind(0); n != 0 || age != 0 {
		t.Fatalf("an empty feed is ahead by %d, %v", n, age)
	}
	f.append([]Change{{Index: 3, Term: 1}, {Index: 5, Term: 1}, {Index: 6, Term: 2}})
	for _, tc := range []struct{ index, want uint64 }{{0, 3}, {3, 2}, {4, 2}, {5, 1}, {6, 0}, {9, 0}} {
		n, age := f.behind(tc.index)
		if n != tc.want || (age > 0) != (tc.want > 0) {
			t.Fatalf("behind(%d) = %d, %v, want %d", tc.index, n, age, tc.want)
		}
	}
}

func TestFeedTermAt(t *testing.T) {
	f := newFeed()
	f.reset(4, 2)
	if got := f.termAt(4); got != 2 {
		t.Fatalf("term of the base is %d, want 2", got)
	}
	f.append([]Change{{Index: 5, Term: 2}, {Index: 8, Term: 3}})
	for _, tc := range []struct{ index, want uint64 }{{3, 0}, {4, 2}, {5, 2}, {6, 0}, {8, 3}, {9, 0}} {
		if got := f.termAt(tc.index); got != tc.want {
			t.Fatalf("termAt(%d) = %d, want %d", tc.index, got, tc.want)
		}
	}
}
