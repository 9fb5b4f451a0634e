package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// The roles of Status.
const (
	RolePrimary   = "primary"
	RoleStandby   = "standby"
	RoleFenced    = "fenced"
	RoleCloning   = "cloning"
	RoleRewinding = "rewinding"
	RoleStarting  = "starting"
	RoleStopped   = "stopped"
	RoleUnknown   = "unknown"
)

// Status is what this node's PostgreSQL is and does.
type Status struct {
	Role string
	// Action is what is being done, or waited for, and Why. Done and Total are a clone's bytes.
	Action      Action
	Why         string
	Done, Total int64
	Epoch       uint64
	Timeline    wal.Timeline
	LSN         wal.LSN
	ReplayLSN   wal.LSN // of a standby: how far reads see
	// InDoubtLSN is where the primary's WAL ends as long as it is not confirmed by as many members as the rule asks
	// for, "" if it is.
	InDoubtLSN string
	Standbys   []StandbyLag // of the primary
	// PendingRestart are the settings that wait for a restart.
	PendingRestart []string
	ReadOnly       bool
	Gated          bool // clients are not let in yet
	Problem        string
	Memory         string
	SyncNames      string
}

// StandbyLag is how far a standby is behind.
type StandbyLag struct {
	ServerID string // "" for one that is not the cluster's
	Name     string
	State    string
	LagBytes int64
	ReplyAge time.Duration
}

// Data says what the data directory holds.
type Data string

// The kinds of content.
const (
	DataUnknown Data = ""
	DataEmpty   Data = "empty"
	DataPartial Data = "partial"
	DataPresent Data = "present"
)

// View is what the leader asks this node.
type View struct {
	Role  string
	Epoch uint64
	Phase primacy.Phase
	// Running tells that there is a postmaster, Answering that it lets the agent in, Since since when that is so.
	Running, Answering bool
	Since              time.Time
	// Restarting tells that the node goes on by itself: PostgreSQL was stopped on purpose or is starting.
	Restarting bool
	Problem    string

	Data     Data
	SystemID string
	Major    int
	Standby  bool // in recovery, or to start so
	Memory   string
	Position primacy.Position
	Timeline wal.Timeline
	// Countable tells that Position is known for sure.
	Countable bool
	Full      bool // there is no room to write
	Streaming bool
	Standbys  []Standby
	Pending   []Pending
}

// Status returns what PostgreSQL is and does.
func (c *Controller) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// View returns what the leader asks this node.
func (c *Controller) View() View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view
}

// NeedsRestart tells whether settings wait for a restart.
func (c *Controller) NeedsRestart() bool { return len(c.Status().PendingRestart) > 0 }

// RequestRestart has PostgreSQL stopped and started again, once it serves or follows.
func (c *Controller) RequestRestart(context.Context) error {
	c.mu.Lock()
	role := c.status.Role
	if role == RolePrimary || role == RoleStandby {
		c.asked.Restart = true
	}
	c.mu.Unlock()
	if role != RolePrimary && role != RoleStandby {
		return fmt.Errorf("restart PostgreSQL: it is %s, and can be restarted as primary or standby", role)
	}
	c.Wake()
	return nil
}

// RequestReinit has the data thrown away and cloned from the primary.
func (c *Controller) RequestReinit(context.Context) error {
	state, _ := c.cfg.Raft.State()
	switch {
	case state.Primary == c.cfg.ServerID:
		return errors.New("make the copy of the data anew: this is the primary; switch over to another node first")
	case state.Phase != primacy.PhaseReady:
		return errors.New("make the copy of the data anew: there is no primary to copy from")
	}
	c.mu.Lock()
	c.asked.Reinit = true
	c.mu.Unlock()
	c.Wake()
	return nil
}

// publish shows what the loop sees and is about to do.
func (c *Controller) publish(in *Inputs, step Step) {
	if step.Do == Wait && step.Why != c.memo.waited {
		c.logger.Debug("waiting", "why", step.Why, "epoch", in.State.Epoch)
		c.memo.waited = step.Why
	}
	s := c.makeStatus(in, step)
	v := c.makeView(in, s)
	if v.Full {
		s.Problem = fullText(s.Problem)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.view = s, v
}

func (c *Controller) makeStatus(in *Inputs, step Step) Status {
	s := Status{
		Role: roleOf(in, step), Action: step.Do, Why: step.Why, Epoch: in.State.Epoch, Memory: in.Local.Memory,
		Timeline: in.Files.Timeline, LSN: in.Local.Position.LSN, Problem: c.memo.problem, Gated: in.Local.Unconfirmed,
	}
	if s.Problem == "" {
		s.Problem = c.memo.badWhy
	}
	if step.Problem {
		s.Problem = step.Why
	}
	if in.InForce != nil {
		s.ReadOnly, s.SyncNames = in.InForce.ReadOnly, in.InForce.SyncNames
	}
	live := in.Live
	if live == nil {
		return s
	}
	s.Timeline, s.LSN = live.Timeline, live.LSN
	if live.InRecovery {
		s.ReplayLSN = live.Boundary
	}
	for _, p := range live.Pending {
		s.PendingRestart = append(s.PendingRestart, p.Name)
	}
	if !live.InRecovery {
		if at, ok := in.quorumFlush(); !ok || at < live.LSN {
			s.InDoubtLSN = live.LSN.String()
		}
		s.Standbys = c.lags(live)
	}
	return s
}

func (c *Controller) lags(live *Live) []StandbyLag {
	var all []StandbyLag
	for _, standby := range live.Standbys {
		lag := StandbyLag{Name: standby.Name, State: standby.State, ReplyAge: standby.ReplyAge}
		if standby.Flush < live.LSN {
			lag.LagBytes = int64(live.LSN - standby.Flush)
		}
		for _, m := range c.memo.state.Sync.Members {
			if name, ok := c.name(m.ServerID, m.Memory); ok && name == standby.Name {
				lag.ServerID = m.ServerID
			}
		}
		all = append(all, lag)
	}
	return all
}

func (c *Controller) makeView(in *Inputs, s Status) View {
	v := View{
		Role: s.Role, Epoch: in.State.Epoch, Phase: in.State.Phase, Running: in.Running, Answering: in.Live != nil,
		Problem: s.Problem, Data: dataOf(in), SystemID: in.Files.SystemID, Major: in.Files.Major, Standby: in.Files.Standby,
		Memory: in.Local.Memory, Timeline: s.Timeline, Position: in.Local.Position,
		Full: c.memo.full(time.Now()),
	}
	at, sure := in.position()
	if sure {
		v.Position = at
	} else if in.Live != nil {
		v.Position = primacy.Position{Epoch: in.epoch(in.Live.Timeline), LSN: in.Live.LSN}
	}
	v.Countable = v.Data == DataPresent && in.Local.Spoiled == "" && (sure || in.Live != nil)
	if in.Live != nil {
		v.Standby, v.Streaming = in.Live.InRecovery, in.Live.Streaming
		v.Standbys, v.Pending = slices.Clone(in.Live.Standbys), slices.Clone(in.Live.Pending)
	}
	// A primary that served and does not answer hangs: it is not starting.
	v.Restarting = !in.Died && s.Problem == "" && (in.Running && in.Live == nil && !c.memo.led ||
		slices.Contains([]Action{StartPrimary, StartStandby, Restart, HandOver}, s.Action))
	if role := fmt.Sprint(s.Role, v.Running, v.Answering); role != c.memo.role {
		c.memo.role, c.memo.roleSince = role, time.Now()
	}
	v.Since = c.memo.roleSince
	return v
}

func dataOf(in *Inputs) Data {
	switch {
	case in.Problem != "" && in.Files.SystemID == "":
		return DataUnknown
	case in.Files.Empty:
		return DataEmpty
	case in.Files.Partial || in.Local.Work != nil:
		return DataPartial
	}
	return DataPresent
}

func roleOf(in *Inputs, step Step) string {
	work := in.Local.Work
	switch {
	case step.Do == Clone || work != nil && work.Kind == WorkClone:
		return RoleCloning
	case step.Do == Rewind || work != nil && work.Kind == WorkRewind:
		return RoleRewinding
	case step.Do == StartPrimary || step.Do == StartStandby || in.Running && in.Live == nil:
		return RoleStarting
	case !in.Running:
		return RoleStopped
	case !in.Live.InRecovery && in.Fresh && in.State.Primary != in.Self:
		return RoleFenced
	case !in.Live.InRecovery && (in.Local.Unconfirmed || in.State.Phase != primacy.PhaseReady):
		return RoleStarting // nobody may write yet
	case !in.Live.InRecovery:
		return RolePrimary
	case in.Cut != nil:
		return RoleFenced
	}
	return RoleStandby
}
