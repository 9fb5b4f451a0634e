package controller

import (
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// Inputs is all that the planner looks at. It is gathered anew for each step.
type Inputs struct {
	State primacy.State
	Fresh bool // State is no older than what the cluster had agreed on when the agent started
	Proof bool // a quorum answered this agent within the lease
	// Alone is how long there was no Proof, and Since how long State has been in its epoch and phase.
	Alone, Since time.Duration

	Self string
	// Names are the standby names of State's members, by server id and memory, as far as the registry knows them.
	Names func(serverID, memory string) (string, bool) `json:"-"`
	// Source is where the primary of State listens, nil if that is not known.
	Source *Source

	Local Local
	// NoPromise tells that the latest try to write a promise down failed.
	NoPromise bool
	// Replaced tells that the data directory is not the one that the record is about.
	Replaced bool
	Running  bool
	Files    Files
	Live     *Live // nil: not running, or it does not answer
	Cut      *Cut  // nil: not known to be cut off
	// Ended is where the WAL of a standby ends that was cut off when it was stopped here, nil: not known. Looking again
	// would mean to start it again.
	Ended *Cut

	InForce *Conf // the configuration that was last brought into force, nil = not by this agent
	Wanted  map[string]string
	Asked   Asked
	// Died tells that a primary's postmaster ended and nobody here asked it to.
	Died bool
	// CanFailover tells that there seems to be someone to fail over to.
	CanFailover bool
	// Gone says why the primary can't give the WAL that is needed here, "" = nothing is known.
	Gone string
	// Starting is the position that the primary had when it was first seen after its start here, 0 = not seen.
	Starting wal.LSN
	// Barrier is a position from after Next came into force.
	Barrier *Barrier
	// Housekeeping tells that roles and slots are to be looked after.
	Housekeeping bool
	// Acked is the last position that was proposed as acknowledged. AckedDue tells that it is time for another that is
	// well beyond, AckedLate for any other.
	Acked               wal.LSN
	AckedDue, AckedLate bool
	// EndWaiting tells that it is time to look for commits that can't be acknowledged.
	EndWaiting bool
	// Problem is what a person must change first, "" = nothing.
	Problem string
}

// Source is the primary's server.
type Source struct {
	ServerID string
	Host     string
	Port     int
	Slot     string // this node's on it
}

// Asked is what an operator asked this node to do.
type Asked struct{ Restart, Reinit bool }

// Files is what the data directory tells while nothing runs in it, and the part of it that does not change later.
type Files struct {
	Empty    bool
	Partial  bool // the hands' own mark of something unfinished
	SystemID string
	Major    int
	Timeline wal.Timeline
	// Checkpoint is where the latest checkpoint's record begins. InOrder tells that it was written by a primary's
	// shutdown and nothing came after it.
	Checkpoint wal.LSN
	InOrder    bool
	Standby    bool // it has a standby.signal
}

// Live is what the running server tells.
type Live struct {
	PID        int // of the postmaster
	InRecovery bool
	Timeline   wal.Timeline
	// LSN is what is on disk: flushed by a primary, received or replayed by a standby. Boundary is the end of a record
	// at or below it, 0 = not known.
	LSN, Boundary wal.LSN
	Receiving     bool // there is a walreceiver
	Streaming     bool // and it streams
	LastMessage   time.Time
	Standbys      []Standby
	Pending       []Pending
}

// Standby is one that streams from here.
type Standby struct {
	Name          string
	State         string
	Flush, Replay wal.LSN
	ReplyAge      time.Duration
}

// Pending is a setting that waits for a restart.
type Pending struct{ Name, Now, Wanted string }

// Cut is where the WAL of a standby ends that accepts no more of it.
type Cut struct {
	Timeline      wal.Timeline
	LSN, Boundary wal.LSN
}

// Barrier is a position in the WAL that was written after a change of the configuration was in force everywhere.
type Barrier struct {
	Version uint64 // of primacy.State.Next
	LSN     wal.LSN
}

// Conf is the part of PostgreSQL's configuration that the planner decides.
type Conf struct {
	Follow    uint64 // epoch whose primary is streamed from, 0 = nobody
	Source    Source
	Name      string // the standby's own
	SyncNames string
	ReadOnly  bool
	Gated     bool // let no client in
	Wanted    map[string]string
}
