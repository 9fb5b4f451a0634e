package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/api"
)

// The names of the checks.
const (
	Certificate    = "certificate"
	ClockSkew      = "clock_skew"
	DiskDataDir    = "disk_data_dir"
	DiskPostgres   = "disk_postgres"
	Elections      = "elections"
	Fsync          = "fsync"
	PendingRestart = "pending_restart"
	Replication    = "replication"
	Slots          = "slots"
	SyncMembers    = "sync_members"
	Versions       = "versions"
)

// Names lists the checks that there are, by name.
func Names() []string {
	return []string{
		Certificate, ClockSkew, DiskDataDir, DiskPostgres, Elections, Fsync, PendingRestart, Replication, Slots, SyncMembers, Versions,
	}
}

// What is still in order. See also the page operations/health-checks.md.
const (
	mib = int64(1) << 20
	gib = int64(1) << 30

	staleAfter = time.Minute // a measurement that is older says nothing of now

	diskWarning, diskCritical           = gib, 200 * mib // and in percent:
	diskWarningShare, diskCriticalShare = 10, 3

	certificateWarning, certificateCritical = 30 * 24 * time.Hour, 7 * 24 * time.Hour
	clockWarning, clockCritical             = 500 * time.Millisecond, 5 * time.Second
	fsyncWarning, fsyncHangs                = 50 * time.Millisecond, 5 * time.Second
	fsyncEnough                             = 3 // samples: a start of everything at once is no slow disk
	electionsWarning, electionsCritical     = 3, 10
	electionsWithin                         = time.Hour
	lagWarning, lagCritical                 = 64 * mib, gib
	slotKeeps                               = gib
	slotSafeShare                           = 20 // percent of what may be kept that must be left
)

// Checks judges what is known of a node, by name. What does not apply to the node is left out.
func Checks(f Facts) []api.Check {
	checks := []api.Check{} // JSON's [], never null
	for _, check := range []func(Facts) *api.Check{
		certificate, clockSkew, diskDataDir, diskPostgres, elections, fsync, pendingRestart, replication, slots, syncMembers, versions,
	} {
		if c := check(f); c != nil {
			if c.Status == api.CheckOK {
				c.Next = ""
			}
			checks = append(checks, *c)
		}
	}
	return checks
}

// unmeasured is the check's row where there is no measurement to judge.
func (f Facts) unmeasured(name string) *api.Check {
	switch age := f.Status.AsOf.Sub(f.Measured.At); {
	case f.Measured.At.IsZero():
		return unknown(name, "not measured yet", "It is measured within seconds of the agent's start: ask again.")
	case age > staleAfter:
		return unknown(name, fmt.Sprintf("the last measurement is %s old: the agent's measuring hangs, mostly on a disk", round(age)),
			"See the host's kernel log for a disk or network file system that does not answer.")
	}
	return nil
}

func unknown(name, message, next string) *api.Check {
	return &api.Check{Name: name, Status: api.CheckUnknown, Message: message, Next: next}
}

func certificate(f Facts) *api.Check {
	if !f.Measured.TLS {
		return nil
	}
	if c := f.unmeasured(Certificate); c != nil {
		return c
	}
	left := f.Measured.Expires.Sub(f.Status.AsOf)
	c := &api.Check{
		Name: Certificate, Status: api.CheckOK, Message: fmt.Sprintf("the certificate expires in %d days, on %s", int(left.Hours()/24), day(f.Measured.Expires)),
		Next: "Make a new one with pgraft tls cert create and put it in the place of the old files: agents and PostgreSQL take it up by themselves.",
	}
	switch {
	case left <= 0:
		c.Status, c.Message = api.CheckCritical, fmt.Sprintf("the certificate expired on %s: new connections between the nodes are refused", day(f.Measured.Expires))
	case left < certificateCritical:
		c.Status = api.CheckCritical
	case left < certificateWarning:
		c.Status = api.CheckWarning
	}
	return c
}

func clockSkew(f Facts) *api.Check {
	if len(f.Status.Nodes) < 2 {
		return nil
	}
	if c := f.unmeasured(ClockSkew); c != nil {
		return c
	}
	if len(f.Measured.Clocks) == 0 {
		return unknown(ClockSkew, "no other node answers: there is no clock to compare with", "See which nodes are alive: pgraft status")
	}
	worst := slices.MaxFunc(f.Measured.Clocks, func(a, b Clock) int { return cmp.Compare(a.atLeast(), b.atLeast()) })
	c := &api.Check{
		Name: ClockSkew, Status: api.CheckOK, Message: fmt.Sprintf("this clock and that of %s differ by %s", worst.Node, round(worst.Offset.Abs())),
		Next: "Set the clocks by one source: chronyc tracking, or timedatectl, on both nodes.",
	}
	switch skew := worst.atLeast(); {
	case skew > clockCritical:
		c.Status = api.CheckCritical
	case skew > clockWarning:
		c.Status = api.CheckWarning
	}
	return c
}

// atLeast is how much the clocks differ for sure.
func (c Clock) atLeast() time.Duration { return max(0, c.Offset.Abs()-c.Doubt) }

func diskDataDir(f Facts) *api.Check {
	if c := f.unmeasured(DiskDataDir); c != nil {
		return c
	}
	return disk(DiskDataDir, f.Measured.Disk, "Make room there, or move data_dir to a larger file system: a node that can't write its log stops voting.")
}

func diskPostgres(f Facts) *api.Check {
	d := f.Measured.Postgres.Disk
	if !f.Status.Postgres.Enabled || d.Dir == "" && d.Err == "" && !f.Measured.At.IsZero() {
		return nil
	}
	if c := f.unmeasured(DiskPostgres); c != nil {
		return c
	}
	return disk(DiskPostgres, d, "Find what fills it: pg_wal (SELECT * FROM pg_replication_slots; archive_command), log files, temporary files, tables.")
}

func disk(name string, d Disk, next string) *api.Check {
	if d.Err != "" {
		return unknown(name, "can't ask for room: "+d.Err, "Let the agent's user reach the directory.")
	}
	free, share := int64(d.Free), 100*float64(d.Free)/float64(max(d.Total, 1))
	c := &api.Check{Name: name, Status: api.CheckOK, Message: fmt.Sprintf("%s free in %s, %d%%", size(free), d.Dir, int(share)), Next: next}
	switch {
	case free < diskCritical || share < diskCriticalShare:
		c.Status = api.CheckCritical
	case free < diskWarning || share < diskWarningShare:
		c.Status = api.CheckWarning
	}
	return c
}

func elections(f Facts) *api.Check {
	if c := f.unmeasured(Elections); c != nil {
		return c
	}
	n, last := 0, time.Time{}
	for _, at := range f.Measured.Elections {
		if f.Status.AsOf.Sub(at) < electionsWithin {
			n++
		}
		if at.After(last) {
			last = at
		}
	}
	c := &api.Check{Name: Elections, Status: api.CheckOK, Message: "no election in the last hour", Next: "pgraft events shows them. Without a reason of yours: see whether " +
		"the network between the nodes loses packets, whether the processors are busy, and the check fsync; else set a longer raft.election_timeout."}
	if n > 0 {
		c.Message = fmt.Sprintf("%s in the last hour, the last at %s", count(n, "election"), last.UTC().Format(time.TimeOnly+" MST"))
	}
	switch {
	case n >= electionsCritical:
		c.Status = api.CheckCritical
	case n >= electionsWarning:
		c.Status = api.CheckWarning
	}
	return c
}

func fsync(f Facts) *api.Check {
	s := f.Measured.Sync
	c := &api.Check{
		Name: Fsync, Status: api.CheckOK,
		Next: "Put data_dir on a disk of its own, with a write cache that survives a power cut. Who else writes there: iostat -x 1",
	}
	if !s.Since.IsZero() && f.Status.AsOf.Sub(s.Since) > fsyncHangs {
		c.Status, c.Message = api.CheckCritical, fmt.Sprintf("a write to %s is not durable after %s: the disk hangs", f.DataDir, round(f.Status.AsOf.Sub(s.Since)))
		return c
	}
	if u := f.unmeasured(Fsync); u != nil {
		return u
	}
	switch {
	case s.Err != "":
		c.Status, c.Message = api.CheckCritical, fmt.Sprintf("can't write to %s: %s", f.DataDir, s.Err)
		c.Next = "See the host's kernel log for errors of the disk, and whether the file system is mounted read-only."
	case s.Count == 0:
		return unknown(Fsync, "not measured yet", "It is measured within seconds of the agent's start: ask again.")
	default:
		c.Message = fmt.Sprintf("a write to %s is durable after %s, the median of the last %d", f.DataDir, round(s.Median), s.Count)
		if s.Median > fsyncWarning && s.Count >= fsyncEnough {
			c.Status = api.CheckWarning
		}
	}
	return c
}

func slots(f Facts) *api.Check {
	p := f.Measured.Postgres
	if !f.Status.Postgres.Enabled || !f.Status.Postgres.Up || f.Status.Postgres.InRecovery || !f.Measured.At.IsZero() && !p.Primary && p.SlotsErr == "" {
		return nil
	}
	if c := f.unmeasured(Slots); c != nil {
		return c
	}
	if p.SlotsErr != "" {
		return unknown(Slots, "can't read the replication slots: "+p.SlotsErr, "See PostgreSQL's log.")
	}
	var kept int64
	c := &api.Check{Name: Slots, Status: api.CheckOK}
	for _, s := range p.Slots {
		kept = max(kept, s.Kept)
		status, message, next := slot(s)
		if severity(status) > severity(c.Status) {
			c.Status, c.Message, c.Next = status, message, next
		}
	}
	if c.Status == api.CheckOK {
		c.Message = fmt.Sprintf("%s, of which none keeps more than %s of WAL", count(len(p.Slots), "replication slot"), size(kept))
	}
	return c
}

// ownSlot begins the names of the slots that pgraft makes for its members.
const ownSlot = "pgraft_"

// slot judges one slot.
func slot(s Slot) (status api.CheckStatus, message, next string) {
	who := fmt.Sprintf("slot %s", s.Name)
	free := "take the slot away: SELECT pg_drop_replication_slot('" + s.Name + "')"
	if strings.HasPrefix(s.Name, ownSlot) {
		free = "if its node is gone for good: pgraft force-leave NAME"
	}
	switch {
	case s.WALStatus == "lost":
		return api.CheckCritical, who + " has lost WAL that its reader needs", "Make its reader anew (a member of pgraft: pgraft reinit), or " + free
	case s.WALStatus == "unreserved":
		return api.CheckCritical, fmt.Sprintf("%s is %s behind, and the next checkpoint takes away WAL that it needs", who, size(s.Kept)),
			"Start its reader now, or raise max_slot_wal_keep_size: pgraft settings set postgres.max_slot_wal_keep_size VALUE"
	case s.Safe >= 0 && 100*s.Safe < slotSafeShare*(s.Safe+s.Kept):
		return api.CheckWarning, fmt.Sprintf("%s keeps %s of WAL, and loses it once %s more are written", who, size(s.Kept), size(s.Safe)),
			"Start its reader, or raise max_slot_wal_keep_size: pgraft settings set postgres.max_slot_wal_keep_size VALUE"
	case !s.Active && s.Kept > slotKeeps:
		return api.CheckWarning, fmt.Sprintf("%s is not in use and keeps %s of WAL", who, size(s.Kept)),
			"Start its reader, or " + free
	}
	return api.CheckOK, "", ""
}

func severity(s api.CheckStatus) int {
	return slices.Index([]api.CheckStatus{api.CheckOK, api.CheckUnknown, api.CheckWarning, api.CheckCritical}, s)
}

func size(n int64) string {
	switch {
	case n < 10*mib:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10*gib:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// round makes a duration readable.
func round(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
