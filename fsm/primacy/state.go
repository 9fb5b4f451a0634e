package primacy

import "github.com/pgraft/pgraft/postgres/wal"

// Phase is how far the current epoch has come.
type Phase string

// The phases of an epoch.
const (
	PhaseNone      Phase = ""          // the cluster has no PostgreSQL data yet
	PhaseFenced    Phase = "fenced"    // the fence is committed and reports are being counted: there is no primary
	PhasePromoting Phase = "promoting" // Primary was chosen and takes no writes yet
	PhaseReady     Phase = "ready"     // Primary takes writes; whom it lets in is in doc.go
)

// State is what the cluster has agreed on about its PostgreSQL. Slices are sorted by server id (Lineage by epoch) and
// are never changed in place: a copy of a State stays as it is.
type State struct {
	SystemID string // PostgreSQL's system identifier, "" before the first primary is ready
	Major    int    // PostgreSQL's major version
	// Secret is the password of the replication role. It is in the log and in snapshots, and in no status.
	Secret string

	Epoch   uint64
	Phase   Phase
	Primary string // server id: chosen or ready; in PhaseFenced the one that was deposed
	Found   Found  // how epoch 1 began
	Reason  string // why the epoch was begun, for people
	// Target is the server that is to be chosen if it is eligible, "" for the best.
	Target string
	// Replace asks for another server than the deposed Primary, as long as another is eligible: an operator ordered it.
	Replace bool
	// Handover asks the primary to stop, so that this server can take over without losing anything: a switchover that
	// is under way. "" = none. It ends with the next fence or with Abort.
	Handover string
	Reports  []Report // of the fence of Epoch, in PhaseFenced; other servers than members may give one, too
	// Base is where the chosen primary's WAL ended when it was chosen, from PhasePromoting on.
	Base Position

	Sync Sync  // the rule that each acknowledged commit satisfies
	Next *Sync // the rule to come, nil = none

	// Acked is a position that was on the primary and Sync.Acks members at some time. No promotion goes below it.
	Acked   Position
	Lineage []Branch // every epoch whose primary got ready, or that one branched off (the latest MaxLineage of them)
	Paused  bool     // no failover without an operator
	// DataLoss tells that Epoch was begun by an operator's decision to go on without what could not be counted.
	DataLoss bool
}

// Found says how the first primary gets its data.
type Found string

// The ways to found a cluster's PostgreSQL.
const (
	FoundInit  Found = "initdb"
	FoundAdopt Found = "adopt"
)

// Sync is the rule by which commits are acknowledged and survivors are counted.
type Sync struct {
	Version uint64   // grows with each change of the rule, and whenever a rule to come is withdrawn: never used twice
	Members []Member // the primary among them
	Acks    int      // members other than the primary that must have flushed a commit; 0 with Async
	// Async tells that commits are acknowledged before anyone else has them. Then half of the members are counted and
	// what the lost primary alone had is lost with it.
	Async bool
}

// Member is a server whose PostgreSQL counts.
type Member struct {
	ServerID string
	Memory   string // names the copy of the data that counts
	Lost     bool   // the copy is gone: it counts for nothing
}

// Position is how far a copy of the data reaches.
type Position struct {
	Epoch uint64 // that began the last timeline in its WAL
	LSN   wal.LSN
}

// Report is what a fenced server's WAL holds.
type Report struct {
	ServerID string
	Memory   string
	Position Position
	Timeline wal.Timeline
}

// Branch is the beginning of an epoch in PostgreSQL's history.
type Branch struct {
	Epoch    uint64
	Parent   uint64 // the epoch it branched off, 0 = none
	ServerID string // its first primary
	Timeline wal.Timeline
	// Switch is where the timeline begins: WAL of Parent up to here is part of it, and beyond is not.
	Switch wal.LSN
}

// Op is one operation on the State. The concrete types below are all there are.
type Op interface{ primacyOp() }

// FoundOp begins the first epoch on a server: it makes the data or adopts what it has. It is the only member at first.
// As long as no primary was ever ready another FoundOp may try again, elsewhere or otherwise.
type FoundOp struct {
	Epoch            uint64 // one more than the present: 1 at first
	ServerID, Memory string
	How              Found
	Secret           string
	Async            bool
}

// FenceOp ends the present epoch and begins Epoch, which must be one more.
type FenceOp struct {
	Epoch  uint64
	Target string // see State.Target
	// Replace, see State.Replace.
	Replace bool
	Reason  string
}

// ReportOp adds a fenced server's report, or replaces the one that it gave before.
type ReportOp struct {
	Epoch  uint64
	Report Report
}

// PromoteOp chooses the primary of a fenced epoch. Apply refuses a server that may lack an acknowledged commit. With
// AllowDataLoss any server that reported can be chosen; it is then the only member.
type PromoteOp struct {
	Epoch         uint64
	ServerID      string
	AllowDataLoss bool
}

// ReadyOp says that the chosen primary was promoted and takes writes.
type ReadyOp struct {
	Epoch    uint64
	ServerID string
	SystemID string
	Major    int
	Timeline wal.Timeline
	Switch   wal.LSN
	// Unready are the epochs in the primary's own history that are not in Lineage: those of primaries that were
	// promoted and never got ready. Without them nobody can tell what of an older epoch is part of this one's history.
	Unready []Branch
}

// LostOp says that a server's copy of the data is gone, or is about to be destroyed. It applies to the member with
// that Memory, in Sync and in Next, and takes back the report that the copy gave.
type LostOp struct{ ServerID, Memory string }

// NextOp sets or, with an empty Next.Members, withdraws State.Next. Version must be Sync's; Next.Version is given by
// Apply. A rule to come is never replaced: it is withdrawn first.
type NextOp struct {
	Epoch, Version uint64
	Next           Sync
}

// ConfirmOp puts Next in the place of Sync. Only the primary proposes it, after what doc.go says. Version is Next's.
type ConfirmOp struct{ Epoch, Version uint64 }

// ShrinkOp makes the primary the only member: for a cluster whose standbys are gone while Raft has a quorum. Version
// must be Sync's.
type ShrinkOp struct{ Epoch, Version uint64 }

// AckedOp records a position that is on the primary and Sync.Acks members.
type AckedOp struct {
	Epoch uint64
	LSN   wal.LSN
}

// HandoverOp begins a switchover, or with an empty Target withdraws it.
type HandoverOp struct {
	Epoch  uint64
	Target string
}

// PauseOp turns automatic failover off or on.
type PauseOp struct{ Paused bool }

func (FoundOp) primacyOp()    {}
func (FenceOp) primacyOp()    {}
func (ReportOp) primacyOp()   {}
func (PromoteOp) primacyOp()  {}
func (ReadyOp) primacyOp()    {}
func (LostOp) primacyOp()     {}
func (NextOp) primacyOp()     {}
func (ConfirmOp) primacyOp()  {}
func (ShrinkOp) primacyOp()   {}
func (AckedOp) primacyOp()    {}
func (HandoverOp) primacyOp() {}
func (PauseOp) primacyOp()    {}
