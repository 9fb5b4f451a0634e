package membership

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/pgraft/pgraft/api"
)

// RefusalKind says in stable words why two nodes will not be in one cluster.
type RefusalKind string

// The kinds of refusal.
const (
	RefusedName     RefusalKind = "node name taken"
	RefusedKept     RefusalKind = "node name kept for its owner" // goes away by itself, if the owner does
	RefusedServerID RefusalKind = "server id in use"
	RefusedCluster  RefusalKind = "other cluster"
	RefusedKey      RefusalKind = "gossip key differs"
	RefusedAddress  RefusalKind = "address unreachable for others"
	RefusedStale    RefusalKind = "stale news of a node that left"
)

var refusalKinds = [...]RefusalKind{
	RefusedName, RefusedKept, RefusedServerID, RefusedCluster, RefusedKey, RefusedAddress, RefusedStale,
}

// RefusedError tells why a node was refused, and what to do about it.
type RefusedError struct {
	Kind   RefusalKind
	Reason string
}

// Error gives the kind and the reason.
func (e *RefusedError) Error() string { return string(e.Kind) + ": " + e.Reason }

func refuse(kind RefusalKind, format string, args ...any) *RefusedError {
	return &RefusedError{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}

// parseRefusal finds a refusal in an error's text: memberlist hands on no more of an error than that.
func parseRefusal(text string) *RefusedError {
	for _, kind := range refusalKinds {
		if _, reason, ok := strings.Cut(text, string(kind)+": "); ok {
			return &RefusedError{Kind: kind, Reason: strings.TrimSpace(reason)}
		}
	}
	return nil
}

// identity is what the rules need to know of the local node.
type identity struct {
	name      string
	serverID  string
	clusterID string // "" = not known yet
	addr      netip.AddrPort
}

// admit decides on one claim by gossip. byName and byID are what the table has under the claim's name, and under
// another name with the claim's server id; nil = nothing. A nil answer admits it.
func admit(self identity, byName, byID *Member, c claim, now time.Time, reclaimAfter time.Duration) *RefusedError {
	if err := sameCluster(self, c); err != nil {
		return err
	}
	if c.name == self.name {
		return nil // memberlist objects to a wrong claim about the local node, which it can only if it gets it
	}
	if err := reachable(self.addr.Addr(), c); err != nil {
		return err
	}
	if c.meta.ServerID == self.serverID {
		return ownServerID(self, c)
	}
	if byName != nil {
		if err := mayUseName(*byName, c, now, reclaimAfter); err != nil {
			return err
		}
	}
	if byID != nil && byID.Status == api.NodeAlive && byID.Address != c.addr {
		return copiedDataDir(c, byID.Name, byID.Address)
	}
	return nil
}

// admitMerge decides on a whole state exchange that one side asked for in order to join. Only what makes the two
// sides strangers, or concerns the local node itself, refuses it whole: a quarrel about a third node must not keep
// two halves of a cluster apart, and admit handles it claim by claim.
func admitMerge(self identity, peers []*memberlist.Node) *RefusedError {
	var unreachable *RefusedError
	admitted := 0
	for _, n := range peers {
		c, err := newClaim(n)
		if err != nil || n.State == memberlist.StateLeft {
			continue
		}
		if n.State == memberlist.StateDead {
			if err := keptName(self, c); err != nil {
				return err
			}
			continue
		}
		if err := mergeClaim(self, c); err != nil {
			return err
		}
		if err := reachable(self.addr.Addr(), c); err != nil {
			unreachable = err
			continue
		}
		admitted++
	}
	if admitted == 0 {
		return unreachable
	}
	return nil
}

func mergeClaim(self identity, c claim) *RefusedError {
	if err := sameCluster(self, c); err != nil {
		return err
	}
	if c.addr == self.addr {
		return nil // an earlier life of the local node
	}
	if c.name == self.name && c.meta.ServerID != self.serverID {
		return refuse(RefusedName, "node_name %q belongs to the live node at %s (server id %s): give this node another node_name, or stop that one first",
			c.name, c.addr, c.meta.ServerID)
	}
	if c.name != self.name && c.meta.ServerID == self.serverID {
		return ownServerID(self, c)
	}
	return nil
}

// keptName refuses a join to a node that still holds the local name for a failed node. For how long it does is known
// there only: it may have admitted this node in this very exchange, which the next one shows (see contact).
func keptName(self identity, dead claim) *RefusedError {
	if dead.name != self.name || dead.meta.ServerID == self.serverID || dead.addr == self.addr {
		return nil
	}
	return refuse(RefusedKept, "node_name %q is kept for a while for the node at %s (server id %s), which failed: wait, or give this node another node_name",
		dead.name, dead.addr, dead.meta.ServerID)
}

func sameCluster(self identity, c claim) *RefusedError {
	if self.clusterID == "" || c.meta.ClusterID == "" || self.clusterID == c.meta.ClusterID {
		return nil
	}
	return refuse(RefusedCluster, "node %q at %s belongs to the cluster with id %s, this node to %s: give the two clusters different cluster_names, or wipe the data_dir of the node that is to change sides",
		c.name, c.addr, c.meta.ClusterID, self.clusterID)
}

func ownServerID(self identity, c claim) *RefusedError {
	if c.addr == self.addr {
		return refuse(RefusedStale, "%q is an earlier name of this node", c.name)
	}
	return copiedDataDir(c, self.name, self.addr)
}

func copiedDataDir(c claim, owner string, at netip.AddrPort) *RefusedError {
	return refuse(RefusedServerID, "node %q at %s has the server id %s of the live node %q at %s: was data_dir copied? wipe the copy, each node needs its own",
		c.name, c.addr, c.meta.ServerID, owner, at)
}

// mayUseName decides whether a claim may replace what is known under its name.
func mayUseName(known Member, c claim, now time.Time, reclaimAfter time.Duration) *RefusedError {
	if known.Meta.ServerID == c.meta.ServerID {
		// Who said goodbye in this life is not alive in it any more: the news is older than the goodbye.
		if known.Status == api.NodeLeft && known.Meta.Leaving && !c.meta.Leaving && !c.meta.Started.After(known.Meta.Started) {
			return refuse(RefusedStale, "node %q left", c.name)
		}
		return nil
	}
	if known.Address == c.addr {
		return nil // two can't be at one address: the old one is gone, a wiped node came back
	}
	switch {
	case known.Status == api.NodeAlive:
		return refuse(RefusedName, "node_name %q belongs to the live node at %s (server id %s), and %s (server id %s) claims it too: give one of them another node_name, or stop it",
			c.name, known.Address, known.Meta.ServerID, c.addr, c.meta.ServerID)
	case known.Status == api.NodeFailed && now.Sub(known.StatusChanged) < reclaimAfter:
		return refuse(RefusedKept, "node_name %q is kept for the node at %s (server id %s), which failed less than %s ago: %s (server id %s) gets it after that",
			c.name, known.Address, known.Meta.ServerID, reclaimAfter, c.addr, c.meta.ServerID)
	}
	return nil
}

// reachable refuses a mix of loopback and other addresses: each side would probe itself in the other's place.
func reachable(self netip.Addr, c claim) *RefusedError {
	if self.IsLoopback() == c.addr.Addr().IsLoopback() {
		return nil
	}
	if self.IsLoopback() {
		return refuse(RefusedAddress, "this node advertises the loopback address %s, which node %q at %s can't reach: set advertise_addr to an address that other machines can reach",
			self, c.name, c.addr)
	}
	return refuse(RefusedAddress, "node %q advertises the loopback address %s: set its advertise_addr to an address that other machines can reach",
		c.name, c.addr)
}
