package membership_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/membership"
)

func newKey(t *testing.T) string {
	t.Helper()
	key, err := membership.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encrypted(t *testing.T, name, key string) membership.Config {
	t.Helper()
	cfg := config(t, name)
	cfg.Encrypt, cfg.DataDir = key, t.TempDir()
	return cfg
}

func TestGenerateKey(t *testing.T) {
	key := newKey(t)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 32 || key == newKey(t) {
		t.Errorf("key %q, %v", key, err)
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	log, logged := newLog(t, "a")
	cfg := encrypted(t, "a", newKey(t))
	cfg.Logger = log
	a, clear := open(t, cfg), open(t, config(t, "clear"))
	wrong := open(t, encrypted(t, "wrong", newKey(t)))
	for range 20 {
		_, err := wrong.Join(t.Context(), []string{addr(a)})
		wantRefusal(t, err, membership.RefusedKey, addr(a), "encrypts with a key that this node does not have", "set encrypt")
	}
	_, err := clear.Join(t.Context(), []string{addr(a)})
	wantRefusal(t, err, membership.RefusedKey, "the node there encrypts and this node does not")
	_, err = a.Join(t.Context(), []string{addr(clear)})
	wantRefusal(t, err, membership.RefusedKey, "gossips in the clear")
	if n := logged.count("no installed keys could decrypt"); n != 1 {
		t.Errorf("a logged the wrong key %d times", n)
	}
	if err := all(sees(a, "a"), sees(wrong, "wrong"), sees(clear, "clear"))(); err != nil {
		t.Error(err)
	}
}

func TestKeyIsReplacedInALiveCluster(t *testing.T) {
	first, second := newKey(t), newKey(t)
	nodes := []*membership.Membership{open(t, encrypted(t, "a", first)), open(t, encrypted(t, "b", first)), open(t, encrypted(t, "c", first))}
	join(t, nodes[1], nodes[0])
	join(t, nodes[2], nodes[0])
	together := all(sees(nodes[0], "a", "b", "c"), sees(nodes[1], "a", "b", "c"), sees(nodes[2], "a", "b", "c"))
	eventually(t, together)
	do := func(action membership.KeyringAction, key string) api.KeyringResponse {
		t.Helper()
		var answers []membership.KeyringAnswer
		for _, m := range nodes {
			answers = append(answers, m.Keyring(membership.KeyringOp{Action: action, Key: key}))
		}
		sum := membership.Tally(answers)
		if len(sum.Errors) > 0 {
			t.Fatalf("%s: %v", action, sum.Errors)
		}
		return sum
	}
	do(membership.KeyringInstall, second)
	do(membership.KeyringUse, second)
	got := do(membership.KeyringRemove, first)
	want := api.KeyringResponse{Keys: map[string]int{second: 3}, PrimaryKeys: map[string]int{second: 3}, NumNodes: 3}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// Gossip goes on: news still travels, and a newcomer needs the new key.
	meta := nodes[0].Local().Meta
	meta.Zone = "moved"
	if err := nodes[0].UpdateMeta(meta); err != nil {
		t.Fatal(err)
	}
	eventually(t, all(together, func() error {
		if m, _ := find(nodes[2], "a"); m.Meta.Zone != "moved" {
			return fmt.Errorf("c has zone %q of a", m.Meta.Zone)
		}
		return nil
	}))
	late := open(t, encrypted(t, "d", first))
	_, err := late.Join(t.Context(), []string{addr(nodes[0])})
	wantRefusal(t, err, membership.RefusedKey)
	join(t, open(t, encrypted(t, "e", second)), nodes[0])
}

func TestKeyringRefuses(t *testing.T) {
	key, other := newKey(t), newKey(t)
	m := open(t, encrypted(t, "a", key))
	cases := []struct {
		name string
		op   membership.KeyringOp
		want string
	}{
		{"RemovePrimary", membership.KeyringOp{Action: membership.KeyringRemove, Key: key}, "this node encrypts with it"},
		{"UseUnknown", membership.KeyringOp{Action: membership.KeyringUse, Key: other}, "not installed"},
		{"NoBase64", membership.KeyringOp{Action: membership.KeyringInstall, Key: "%"}, "no base64"},
		{"Short", membership.KeyringOp{Action: membership.KeyringInstall, Key: "AAAA"}, "3 bytes"},
		{"UnknownAction", membership.KeyringOp{Action: "burn", Key: other}, `"burn" is unknown`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := m.Keyring(c.op)
			if !strings.Contains(got.Error, c.want) || !reflect.DeepEqual(got.Keys, []string{key}) {
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
	off := open(t, config(t, "off")).Keyring(membership.KeyringOp{Action: membership.KeyringList})
	if !strings.Contains(off.Error, "encryption is off") || off.Node != "off" {
		t.Errorf("without encryption: %+v", off)
	}
	if m.Encrypted() == false {
		t.Error("not encrypted")
	}
}

func TestKeyringFile(t *testing.T) {
	keys := []string{newKey(t), newKey(t), newKey(t)}
	cfg := encrypted(t, "a", keys[0])
	path := filepath.Join(cfg.DataDir, membership.KeyringFileName)
	list := func(m *membership.Membership) []string {
		return m.Keyring(membership.KeyringOp{Action: membership.KeyringList}).Keys
	}
	m := open(t, cfg)
	for _, op := range []membership.KeyringOp{
		{Action: membership.KeyringInstall, Key: keys[1]}, {Action: membership.KeyringInstall, Key: keys[2]},
		{Action: membership.KeyringUse, Key: keys[2]}, // the ring is 2 0 1 now
		{Action: membership.KeyringRemove, Key: keys[0]},
	} {
		if got := m.Keyring(op); got.Error != "" {
			t.Fatalf("%s: %s", op.Action, got.Error)
		}
	}
	want := []string{keys[2], keys[1]}
	if got := list(m); !reflect.DeepEqual(got, want) {
		t.Errorf("ring %v, want %v", got, want)
	}
	stop(t, m)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("keyring file: %v, %v", info, err)
	}

	// The file outlives the key in the configuration, and stands without it.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, encrypt := range []string{keys[0], ""} {
		cfg.Encrypt = encrypt
		m = open(t, cfg)
		if got := list(m); !reflect.DeepEqual(got, want) {
			t.Errorf("after a restart with encrypt=%q: %v, want %v", encrypt, got, want)
		}
		stop(t, m)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keyring file that others could read: %v, %v", info, err)
	}

	// A key that is new in the configuration is what the operator wants now.
	cfg.Encrypt = newKey(t)
	m = open(t, cfg)
	if got := list(m); len(got) != 3 || got[0] != cfg.Encrypt {
		t.Errorf("with a new key: %v", got)
	}
	stop(t, m)

	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := membership.Open(cfg); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged keyring: %v", err)
	}
}

func TestTally(t *testing.T) {
	got := membership.Tally([]membership.KeyringAnswer{
		{Node: "a", Keys: []string{"x", "y"}},
		{Node: "b", Keys: []string{"y"}},
		{Node: "c", Error: "no answer"},
	})
	want := api.KeyringResponse{
		Keys: map[string]int{"x": 1, "y": 2}, PrimaryKeys: map[string]int{"x": 1, "y": 1}, NumNodes: 3,
		Errors: map[string]string{"c": "no answer"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
