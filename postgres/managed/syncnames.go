package managed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// namePrefix begins each application name and slot that is pgraft's.
const namePrefix = "pgraft_"

// nobody is a name that no standby has. While it is all there is to wait for, commits wait.
const nobody = namePrefix + "nobody"

// maxName is how many bytes PostgreSQL keeps of an application name. A longer one would never match its entry in
// synchronous_standby_names, which is not cut.
const maxName = 63

// StandbyName returns the application name of the standby whose copy of the data is memory: a copy made anew has
// another name, so that it acknowledges nothing in the name of the lost one. PostgreSQL compares names without regard
// to case.
func StandbyName(nodeID int, memory string) string {
	prefix := namePrefix + strconv.Itoa(nodeID) + "_"
	if len(prefix)+len(memory) > maxName || !isPlainName(memory) {
		sum := sha256.Sum256([]byte(memory))
		memory = hex.EncodeToString(sum[:16])
	}
	return prefix + memory
}

// isPlainName reports whether PostgreSQL keeps an application name as it is and tells it from every other one.
func isPlainName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// SlotName returns the replication slot that the node's standby uses on every primary. It is what keeps one standby
// from being counted twice, as two connections of it that overlap can't both hold the slot.
func SlotName(nodeID int) string { return namePrefix + strconv.Itoa(nodeID) }

// SyncNames returns the value of synchronous_standby_names with which a commit waits for acks of the standbys. Equal
// sets give equal text. With fewer standbys than acks, commits wait until the setting changes.
func SyncNames(standbys []string, acks int) string {
	if acks <= 0 {
		return ""
	}
	names := slices.Compact(slices.Sorted(slices.Values(standbys)))
	if len(names) == 0 {
		names = []string{nobody}
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		// The name * would be everybody, quoted or not.
		if name == "*" {
			name = nobody
		}
		quoted[i] = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return fmt.Sprintf("ANY %d (%s)", acks, strings.Join(quoted, ", "))
}
