// Package consensustest runs clusters of consensus.Node in one process for tests, over a network of loopback
// connections that can be cut.
package consensustest
