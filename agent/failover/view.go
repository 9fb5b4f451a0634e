package failover

import (
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// Where agents answer each other on the internal port.
const (
	ViewPath  = "/internal/postgres"
	SeesPath  = "/internal/sees" // query parameter "server" is whom to look at
	OrderPath = "/internal/postgres/order"
)

// Reach is what came of trying to reach an agent or a PostgreSQL.
type Reach string

// The outcomes. Alive is an agent's, Accepting and Starting are a PostgreSQL's.
const (
	ReachUnknown   Reach = ""          // not tried yet
	ReachAlive     Reach = "alive"     // it answered
	ReachAccepting Reach = "accepting" // it lets clients in, or would if they had the password
	ReachStarting  Reach = "starting"  // a server is there and lets nobody in: it starts, recovers or shuts down
	ReachRefused   Reach = "refused"   // the machine answered that nobody listens there
	ReachSilent    Reach = "silent"    // no answer in time, or no way to it
)

// Up reports whether something answered.
func (r Reach) Up() bool { return r == ReachAlive || r == ReachAccepting || r == ReachStarting }

// Gone reports whether it was tried and nothing answered.
func (r Reach) Gone() bool { return r == ReachRefused || r == ReachSilent }

// Sight is what one agent sees of a server when it looks.
type Sight struct {
	Agent    Reach `json:"agent"`
	Postgres Reach `json:"postgres"`
}

// Data says what a server's data directory holds.
type Data string

// The kinds of content.
const (
	DataUnknown Data = ""
	DataEmpty   Data = "empty"
	DataPartial Data = "partial" // a clone or rewind was begun and has not ended: as good as empty
	DataPresent Data = "present"
)

// View is what an agent tells of its PostgreSQL.
type View struct {
	ServerID string `json:"server_id"`
	Managed  bool   `json:"managed"` // false on a witness
	Role     string `json:"role"`    // primary, standby, witness, fenced, cloning, rewinding, starting, stopped, unknown
	Priority int    `json:"priority"`
	// Epoch and Phase are the replicated state's as this agent has applied it: what follows is no older than that.
	Epoch uint64        `json:"epoch"`
	Phase primacy.Phase `json:"phase"`

	Running bool `json:"running"` // there is a postmaster
	// Restarting tells that the agent has stopped PostgreSQL on purpose, or is starting it, and will go on by itself.
	Restarting bool   `json:"restarting,omitempty"`
	Problem    string `json:"problem,omitempty"` // what a person must change before this PostgreSQL can run

	Data     Data             `json:"data"`
	SystemID string           `json:"system_id,omitempty"`
	Major    int              `json:"major,omitempty"`
	Standby  bool             `json:"standby,omitempty"` // in recovery, or to start so
	Memory   string           `json:"memory,omitempty"`  // of the copy: see primacy.Member
	Position primacy.Position `json:"position"`          // flushed, on a primary
	Timeline wal.Timeline     `json:"timeline,omitempty"`
	// Countable tells that this copy can say for sure how far its WAL reaches: a standby's, or a former primary's that
	// was shut down cleanly.
	Countable bool `json:"countable,omitempty"`

	// Full tells that there is no room for PostgreSQL to write.
	Full bool `json:"full,omitempty"`
	// Streaming tells that a standby receives WAL, and WALAgeMS how long ago the latest message came; -1 = never.
	Streaming bool  `json:"streaming,omitempty"`
	WALAgeMS  int64 `json:"wal_age_ms"`
	// Standbys are those that stream from this server.
	Standbys []Standby `json:"standbys,omitempty"`
	Pending  []Pending `json:"pending,omitempty"` // settings that wait for a restart
}

// Standby is a row of the primary's pg_stat_replication that belongs to a server of this cluster.
type Standby struct {
	ServerID  string  `json:"server_id"`
	Memory    string  `json:"memory"`
	Streaming bool    `json:"streaming"`
	Flush     wal.LSN `json:"flush"`
	// ReplyAgeMS is how long ago its latest answer was seen to come, by the primary's clock.
	ReplyAgeMS int64 `json:"reply_age_ms"`
}

// Pending is a setting whose new value comes into force with a restart.
type Pending struct {
	Name   string `json:"name"`
	Now    string `json:"now"`
	Wanted string `json:"wanted"`
}

// OrderKind names what an operator can have done to one server.
type OrderKind string

// The orders.
const (
	OrderRestart OrderKind = "restart" // stop and start PostgreSQL in place
	OrderReinit  OrderKind = "reinit"  // throw the data away and clone the primary's
)

// Order is what the leader asks an agent to do to its PostgreSQL.
type Order struct {
	Kind  OrderKind `json:"kind"`
	Epoch uint64    `json:"epoch"` // the agent refuses if this is not the present one
}

// walAt returns when the latest WAL came, by this node's clock, given when the view arrived.
func (v *View) walAt(heard time.Time) time.Time {
	if !v.Streaming || v.WALAgeMS < 0 {
		return time.Time{}
	}
	return heard.Add(-time.Duration(v.WALAgeMS) * time.Millisecond)
}
