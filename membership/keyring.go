package membership

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/durable"
)

// KeyringFileName is the file in the data directory that holds the gossip keys.
const KeyringFileName = "gossip.keyring"

// KeyringAction is what can be done with a keyring.
type KeyringAction string

// The keyring actions. A key is replaced in three steps, each on all nodes before the next: install the new one,
// use it, remove the old one.
const (
	KeyringList    KeyringAction = "list"
	KeyringInstall KeyringAction = "install" // decrypt with the key, too
	KeyringUse     KeyringAction = "use"     // encrypt with the key from now on
	KeyringRemove  KeyringAction = "remove"
)

// KeyringOp is one operation on the keyring of every node.
type KeyringOp struct {
	Action KeyringAction `json:"action"`
	Key    string        `json:"key,omitempty"` // base64; empty for list
}

// KeyringAnswer is what one node says to a KeyringOp: its ring after it, or what went wrong.
type KeyringAnswer struct {
	Node  string   `json:"node"`
	Keys  []string `json:"keys"` // the first encrypts
	Error string   `json:"error,omitempty"`
}

// ErrNoEncryption is the answer of a node that gossips in the clear.
var ErrNoEncryption = errors.New("gossip encryption is off on this node: set encrypt on all nodes and restart them")

// GenerateKey gives a new gossip key, for encrypt.
func GenerateKey() (string, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("generate gossip key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}

// Tally sums up what the nodes said.
func Tally(answers []KeyringAnswer) api.KeyringResponse {
	sum := api.KeyringResponse{Keys: map[string]int{}, PrimaryKeys: map[string]int{}, NumNodes: len(answers)}
	for _, a := range answers {
		if a.Error != "" {
			if sum.Errors == nil {
				sum.Errors = map[string]string{}
			}
			sum.Errors[a.Node] = a.Error
		}
		for i, key := range a.Keys {
			sum.Keys[key]++
			if i == 0 {
				sum.PrimaryKeys[key]++
			}
		}
	}
	return sum
}

// Keyring does op on the local ring, in the file first.
func (m *Membership) Keyring(op KeyringOp) KeyringAnswer {
	answer := KeyringAnswer{Node: m.self.name}
	if m.keyring == nil {
		answer.Error = ErrNoEncryption.Error()
		return answer
	}
	keys, err := m.keyring.do(op)
	if err != nil {
		answer.Error = err.Error()
	} else if op.Action != KeyringList {
		m.log.Info("gossip keyring changed", "action", string(op.Action), "keys", len(keys))
	}
	for _, key := range keys {
		answer.Keys = append(answer.Keys, base64.StdEncoding.EncodeToString(key))
	}
	return answer
}

// keyring keeps memberlist's ring and its file in step.
type keyring struct {
	ring *memberlist.Keyring
	path string // "" = no file

	mu   sync.Mutex // serialises changes
	seed string     // fingerprint of the configured key that the file has taken in
}

type keyringFile struct {
	Keys []string `json:"keys"` // the first encrypts
	Seed string   `json:"seed"`
}

// openKeyring gives the ring, or nil when neither a file nor a key is there. The file is newer than the
// configuration, as keys are replaced while nodes run; but a configured key that the file has not seen yet is a wish
// of the operator's that is newer still.
func openKeyring(dir, configured string, log hclog.Logger) (*keyring, error) {
	k := &keyring{}
	var keys [][]byte
	if dir != "" {
		k.path = filepath.Join(dir, KeyringFileName)
		var err error
		if keys, err = k.load(log); err != nil {
			return nil, err
		}
	}
	if configured != "" {
		key, err := decodeKey(configured)
		if err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		if seed := fingerprint(key); seed != k.seed {
			k.seed = seed
			keys = slices.DeleteFunc(keys, func(other []byte) bool { return bytes.Equal(other, key) })
			keys = append([][]byte{key}, keys...)
			if err := k.save(keys); err != nil {
				return nil, err
			}
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("open gossip keyring: %w", err)
	}
	k.ring = ring
	return k, nil
}

func (k *keyring) load(log hclog.Logger) ([][]byte, error) {
	data, err := readFile(k.path)
	if err != nil || data == nil {
		return nil, err
	}
	if info, err := os.Stat(k.path); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("gossip keyring was readable by others: closing it", "path", k.path, "mode", info.Mode().Perm().String())
		if err := os.Chmod(k.path, 0o600); err != nil {
			return nil, fmt.Errorf("protect gossip keyring: %w", err)
		}
	}
	var file keyringFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read gossip keyring %s: %w: put it back from a copy, or remove it and set encrypt to the cluster's present key", k.path, err)
	}
	k.seed = file.Seed
	var keys [][]byte
	for _, text := range file.Keys {
		key, err := decodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("read gossip keyring %s: %w", k.path, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (k *keyring) save(keys [][]byte) error {
	if k.path == "" {
		return nil
	}
	file := keyringFile{Seed: k.seed}
	for _, key := range keys {
		file.Keys = append(file.Keys, base64.StdEncoding.EncodeToString(key))
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("write gossip keyring: %w", err)
	}
	return durable.WriteFile(k.path, append(data, '\n'))
}

// do changes the file, then the ring, and gives the keys after that.
func (k *keyring) do(op KeyringOp) ([][]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := k.ring.GetKeys()
	if op.Action == KeyringList {
		return keys, nil
	}
	key, err := decodeKey(op.Key)
	if err != nil {
		return keys, err
	}
	next, err := nextKeys(keys, op.Action, key)
	if err != nil {
		return keys, err
	}
	if err := k.save(next); err != nil {
		return keys, err
	}
	if err := k.apply(op.Action, key); err != nil {
		return k.ring.GetKeys(), err
	}
	return k.ring.GetKeys(), nil
}

// nextKeys gives the ring after the operation, or why it is refused.
func nextKeys(keys [][]byte, action KeyringAction, key []byte) ([][]byte, error) {
	at := slices.IndexFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
	without := slices.DeleteFunc(slices.Clone(keys), func(k []byte) bool { return bytes.Equal(k, key) })
	switch action {
	case KeyringInstall:
		return append(without, key), nil
	case KeyringUse:
		if at < 0 {
			return nil, errors.New("use gossip key: the key is not installed on this node: install it on all nodes first")
		}
		return append([][]byte{key}, without...), nil
	case KeyringRemove:
		if at == 0 {
			return nil, errors.New("remove gossip key: this node encrypts with it: have all nodes use another key first")
		}
		return without, nil
	}
	return nil, fmt.Errorf("keyring action %q is unknown: use list, install, use or remove", action)
}

func (k *keyring) apply(action KeyringAction, key []byte) error {
	switch action {
	case KeyringInstall:
		return k.ring.AddKey(key)
	case KeyringUse:
		return k.ring.UseKey(key)
	}
	return k.remove(key)
}

// remove takes a key off the ring. memberlist's RemoveKey shifts the keys behind it within the slice that its readers
// hold without a lock; only for the last key there is nothing to shift. UseKey makes a new slice each time and moves
// its key to the front, so using the keys behind this one in turn makes this one the last. For that moment the node
// encrypts with another installed key.
func (k *keyring) remove(key []byte) error {
	keys := k.ring.GetKeys()
	at := slices.IndexFunc(keys, func(other []byte) bool { return bytes.Equal(other, key) })
	if at < 0 {
		return nil
	}
	for _, behind := range keys[at+1:] {
		if err := k.ring.UseKey(behind); err != nil {
			return err
		}
	}
	if err := k.ring.RemoveKey(key); err != nil {
		return err
	}
	return k.ring.UseKey(keys[0])
}

// decodeKey reads a key; its errors never show it.
func decodeKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("the gossip key is no base64: make one with pgraft keygen")
	}
	if err := memberlist.ValidateKey(key); err != nil {
		return nil, fmt.Errorf("the gossip key has %d bytes, it must have 16, 24 or 32: make one with pgraft keygen", len(key))
	}
	return key, nil
}

func fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}
