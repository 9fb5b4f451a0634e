package command

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/pgraft/pgraft/api"
)

// writeStatus is the screen for a tired DBA: the verdict first, then the leader, this node, every node, and at the end
// each problem with what to do about it.
func writeStatus(w io.Writer, s *api.Status) error {
	problems := diagnose(s)
	lines := [][2]string{
		{"Cluster", clusterLine(s)},
		{"Health", healthLine(s, problems)},
		{"Leader", leaderLine(s)},
		{"This node", nodeLine(s)},
		{"PostgreSQL", postgresLine(s)},
	}
	table := nodeTable
	if managed(s) {
		lines = slices.Insert(lines, 2, [2]string{"Primary", primaryLine(s)}, [2]string{"Commits", syncLine(s)})
		table = managedTable
	}
	var b strings.Builder
	for _, l := range lines {
		text := wrap(clean(l[1]), tableWidth-12, "")
		fmt.Fprintf(&b, "%-12s%s\n", l[0], strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 12)))
	}
	b.WriteString("\n")
	if err := table(s).write(&b); err != nil {
		return err
	}
	writeProblems(&b, problems)
	_, err := io.WriteString(w, b.String())
	return err
}

func clusterLine(s *api.Status) string {
	if s.ClusterID == "" {
		return fmt.Sprintf("%s, not founded yet: this node knows no cluster", s.ClusterName)
	}
	return fmt.Sprintf("%s (%s), %s, %s", s.ClusterName, s.ClusterID, count(len(s.Nodes), "node"), count(len(voters(s)), "voter"))
}

func healthLine(s *api.Status, problems []problem) string {
	all := voters(s)
	alive := len(all) - len(silent(all))
	quorum := fmt.Sprintf("%d of %s alive", alive, count(len(all), "voter"))
	switch {
	case s.ClusterID == "":
		return "NO CLUSTER: waiting to found or join one"
	case !s.HasQuorum:
		return "NO QUORUM as seen from here: no writes; " + quorum
	case len(problems) > 0:
		return fmt.Sprintf("DEGRADED: %s, see below; %s", count(len(problems), "problem"), quorum)
	}
	return "ok, " + quorum + tolerance(len(all), alive)
}

// tolerance says how many more voters may go before writes stop.
func tolerance(voters, alive int) string {
	spare := alive - (voters/2 + 1)
	switch {
	case spare <= 0:
		return "; writes need every one of them"
	case spare == 1:
		return "; any one may fail"
	}
	return fmt.Sprintf("; any %d may fail", spare)
}

func leaderLine(s *api.Status) string {
	if s.LeaderID == 0 && s.LeaderName == "" {
		return fmt.Sprintf("none known, term %d", s.Term)
	}
	line := fmt.Sprintf("%s (node %d), term %d", s.LeaderName, s.LeaderID, s.Term)
	if s.LeaderHTTP != "" {
		line += ", " + s.LeaderHTTP
	}
	return line
}

func nodeLine(s *api.Status) string {
	parts := []string{fmt.Sprintf("%s (node %d)", s.Name, s.NodeID), s.State}
	if !s.Voter {
		parts = append(parts, "no voter")
	}
	switch {
	case s.IsLeader:
	case s.LastContactMS < 0:
		parts = append(parts, "never heard a leader")
	default:
		parts = append(parts, "heard the leader "+millis(s.LastContactMS)+" ago")
	}
	parts = append(parts, string(s.WorkerState), "up "+ago(s.AsOf.Sub(s.StartedAt)), "pgraft "+s.Version)
	return strings.Join(parts, ", ")
}

func postgresLine(s *api.Status) string {
	p := s.Postgres
	if !p.Enabled {
		return "none beside this agent"
	}
	if p.Mode == "managed" {
		return managedLine(s)
	}
	if !p.Up {
		return fmt.Sprintf("DOWN at %s (%s)", p.Address, p.Mode)
	}
	kind := "writable"
	if p.InRecovery {
		kind = "standby"
	}
	behind := "current"
	if p.LagEntries > 0 {
		behind = fmt.Sprintf("%d entries behind", p.LagEntries)
	}
	return fmt.Sprintf("%s at %s, database %s, %s, %s; rows at index %d, %s",
		shortVersion(p.ServerVersion), p.Address, p.Database, p.Mode, kind, p.AppliedIndex, behind)
}

// shortVersion drops the distribution's own part: "15.18 (Debian 15.18-0+deb12u1)".
func shortVersion(v string) string {
	short, _, _ := strings.Cut(v, " (")
	return short
}

func nodeTable(s *api.Status) *table {
	t := newTable("ID", "NODE", "STATUS", "RAFT", "ROLE", "POSTGRESQL", "LAG", "INDEX", "SEEN")
	t.shrink = []int{1, 5}
	for _, n := range s.Nodes {
		name := n.Name
		if n.NodeID == s.NodeID {
			name += " (this)"
		}
		t.add(strconv.Itoa(n.NodeID), name, statusWord(n), raftWord(n), orDash(n.Role), orDash(n.PostgresAddress),
			millis(n.LagMS), strconv.FormatUint(n.AppliedIndex, 10), seen(s, n))
	}
	return t
}

// statusWord shouts what is not well.
func statusWord(n api.NodeStatus) string {
	if n.Status == api.NodeAlive {
		return n.Status
	}
	return strings.ToUpper(n.Status)
}

func raftWord(n api.NodeStatus) string {
	switch {
	case n.IsLeader:
		return "leader"
	case n.Voter && n.Witness:
		return "witness"
	case n.Voter:
		return "voter"
	case n.NonVoting:
		return "replica"
	}
	return "non-voter"
}

func seen(s *api.Status, n api.NodeStatus) string {
	if n.NodeID == s.NodeID {
		return "-"
	}
	if n.LastSeen.IsZero() {
		return "never"
	}
	return ago(s.AsOf.Sub(n.LastSeen)) + " ago"
}

func writeProblems(b *strings.Builder, problems []problem) {
	for i, p := range problems {
		fmt.Fprintf(b, "\n%s\n", hanging(fmt.Sprintf("%d. %s", i+1, clean(p.what)), "", "   "))
		fmt.Fprintf(b, "%s\n", hanging(clean(p.next), "   → ", "     "))
	}
}

// hanging wraps text with one indent before its first line and another before the rest.
func hanging(text, first, rest string) string {
	wrapped := wrap(text, tableWidth, rest)
	return first + strings.TrimPrefix(wrapped, rest)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
