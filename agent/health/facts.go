package health

import (
	"time"

	"github.com/pgraft/pgraft/api"
)

// Facts is all that Checks looks at.
type Facts struct {
	Status   *api.Status
	DataDir  string // the agent's
	Measured Measured
}

// Measured is what the Measurer found last.
type Measured struct {
	At        time.Time // when the measurement was complete, zero = not yet
	Disk      Disk      // of the agent's data directory
	Sync      Sync
	TLS       bool
	Expires   time.Time // of the certificate in use
	Clocks    []Clock   // of the nodes that answered
	Trips     []Trip    // to the nodes that answered lately
	Elections []time.Time
	Postgres  Postgres
}

// Disk is the room in a file system.
type Disk struct {
	Dir         string // through which it was asked for, "" = not
	Free, Total uint64 // bytes, of them for anybody but root
	Err         string // why that is not known, "" if it is
}

// Sync is how long the data directory takes to make a block durable.
type Sync struct {
	Median time.Duration // of the last few
	Count  int           // how many those are
	Since  time.Time     // when the one began that is under way, zero = none is
	Err    string        // what kept the last from its end
}

// Clock is how another node's clock differs from this one's.
type Clock struct {
	Node   string
	Offset time.Duration // how far it is ahead
	Doubt  time.Duration // how much of Offset may be the way of the answer
}

// Trip is how long a question to another node and its answer take.
type Trip struct {
	Node  string
	Least time.Duration // of the last few: what is left is the way, and not what the two ends were busy with
	Count int           // how many those are
}

// Postgres is what the PostgreSQL beside the agent was asked.
type Postgres struct {
	Disk     Disk   // that which PostgreSQL writes to, the fullest where there are more
	Primary  bool   // it answered, and is no standby
	Slots    []Slot // of a primary
	SlotsErr string // why they are not known
}

// Slot is a replication slot.
type Slot struct {
	Name      string
	Active    bool
	Kept      int64  // bytes of WAL that are kept for it
	Safe      int64  // bytes that may still be written before WAL that it needs goes, -1 = no limit
	WALStatus string // reserved, extended, unreserved, lost; "" = it keeps none
}
