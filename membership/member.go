package membership

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/pgraft/pgraft/api"
)

// Member is one node as the local node sees it.
type Member struct {
	Name          string
	Address       netip.AddrPort // where it gossips
	Status        string         // api.NodeAlive, api.NodeFailed or api.NodeLeft
	StatusChanged time.Time
	LastSeen      time.Time     // when it last answered this node, or was first heard of
	RTT           time.Duration // of the last probe that it answered; 0 = not probed yet
	Local         bool
	Meta          Meta
}

// API gives the member as the HTTP API shows it.
func (m Member) API() api.Member {
	return api.Member{
		Name:          m.Name,
		ServerID:      m.Meta.ServerID,
		GossipAddress: m.Address.String(),
		RaftAddress:   m.Meta.RaftAddress,
		HTTPAddress:   m.Meta.HTTPAddress,
		Status:        m.Status,
		Version:       m.Meta.Version,
		Protocol:      m.Meta.Protocol,
		Meta:          m.Meta.words(),
	}
}

// words are the rest of the metadata, for people; what is not set is left out.
func (m Meta) words() map[string]string {
	w := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			w[name] = value
		}
	}
	put("postgres_address", m.PostgresAddress)
	put("cluster_id", m.ClusterID)
	put("zone", m.Zone)
	if m.Expect > 0 {
		put("expect", strconv.Itoa(m.Expect))
	}
	if m.NonVoting {
		put("non_voting", "true")
	}
	if m.Witness {
		put("witness", "true")
	}
	put("started", m.Started.UTC().Format(time.RFC3339))
	return w
}

// claim is what a gossip message says about a node: that it is there, under this name, at this address.
type claim struct {
	name string
	addr netip.AddrPort
	meta Meta
}

// newClaim reads a claim off the network. Its name and address are such as a node can have.
func newClaim(n *memberlist.Node) (claim, error) {
	c := claim{name: n.Name, addr: addrPort(n.Addr, n.Port)}
	if err := checkWord("node name", n.Name, MaxNameLen); err != nil {
		return c, err
	}
	if ip := c.addr.Addr(); !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || c.addr.Port() == 0 {
		return c, fmt.Errorf("address %s is none that a node can have", c.addr)
	}
	var err error
	c.meta, err = DecodeMeta(n.Meta)
	return c, err
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr.Unmap(), port)
}
