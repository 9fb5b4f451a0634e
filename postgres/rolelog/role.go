package rolelog

import (
	"cmp"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

// Role is what a line tells of.
type Role struct {
	Postgres string // as api.Status.Role
	Primary  string // name of the primary, "" if none is known or each node has an independent PostgreSQL
	Epoch    uint64 // 0 where PostgreSQL is not managed
	Reason   string // why the epoch was begun
	Leads    bool   // it is Raft's leader
	Term     uint64
}

// Of returns what a status says of its node's role.
func Of(s *api.Status) Role {
	return Role{
		Postgres: s.Role, Primary: s.PrimaryName, Epoch: s.Epoch, Reason: s.EpochReason, Leads: s.IsLeader, Term: s.Term,
	}
}

// Same reports whether two roles need one line only. A new term under the same leader, or the same primary known by
// another reason, is no change of role.
func (r Role) Same(other Role) bool {
	return r.Postgres == other.Postgres && r.Primary == other.Primary && r.Epoch == other.Epoch && r.Leads == other.Leads
}

// Settled reports whether the role is one to tell of: PostgreSQL that is down can't log, and has logged that it went.
func (r Role) Settled() bool {
	return r.Postgres != api.RoleUnknown && r.Postgres != api.RoleWitness && r.Postgres != ""
}

// Line is what PostgreSQL logs.
func (r Role) Line() string {
	raft := "follower"
	if r.Leads {
		raft = "leader"
	}
	if r.Epoch == 0 {
		return fmt.Sprintf("pgraft: this server is %s; its agent is Raft's %s in term %d", r.Postgres, raft, r.Term)
	}
	return fmt.Sprintf("pgraft: this server is %s in epoch %d (%s); the primary is %s; its agent is Raft's %s in term %d",
		r.Postgres, r.Epoch, cmp.Or(r.Reason, "no reason known"), cmp.Or(r.Primary, "not known"), raft, r.Term)
}
