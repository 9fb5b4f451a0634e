package consensus

import (
	"fmt"
	"strings"

	"github.com/hashicorp/raft"
)

// ServerAddr tells Raft's transport what to dial for a server: where gossip sees it now, else where the configuration
// has it. The id travels with the address down to dial, so that the server which answers is the one that is meant.
//
// It is raft.ServerAddressProvider's method and never fails: on an error the transport would dial the bare address,
// and a server that came up there with an empty disk would vote and acknowledge in the name of the one before it.
func (n *Node) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	address, _ := n.addressOf(id)
	return withServerID(id, address), nil
}

// addressOf returns where a server is dialled.
func (n *Node) addressOf(id raft.ServerID) (string, bool) {
	if id == n.cfg.ServerID {
		return n.cfg.AdvertiseAddr, true
	}
	if address, ok := n.cfg.AddressOf(id); ok && address != "" {
		return address, true
	}
	for _, server := range n.latestConfiguration().Servers {
		if server.ID == id {
			return string(server.Address), true
		}
	}
	return "", false
}

// The id stands before the address, as no id has an @.
func withServerID(id raft.ServerID, address string) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + address)
}

func splitServerID(target raft.ServerAddress) (raft.ServerID, string, error) {
	id, address, found := strings.Cut(string(target), "@")
	if !found || id == "" {
		return "", "", fmt.Errorf("address %q does not say which server is meant", target)
	}
	if address == "" {
		return "", "", fmt.Errorf("no address is known for server %s", id)
	}
	return raft.ServerID(id), address, nil
}
