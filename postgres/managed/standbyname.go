package managed

import (
	"strconv"
	"strings"
)

// ParseStandbyName takes apart what StandbyName made. The memory of another form than a plain name is a hash of it.
func ParseStandbyName(name string) (nodeID int, memory string, ok bool) {
	rest, ok := strings.CutPrefix(name, namePrefix)
	if !ok {
		return 0, "", false
	}
	number, memory, ok := strings.Cut(rest, "_")
	nodeID, err := strconv.Atoi(number)
	return nodeID, memory, ok && err == nil && nodeID > 0 && memory != ""
}
