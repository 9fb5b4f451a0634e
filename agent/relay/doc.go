// Package relay brings a request to the agent that leads at the moment.
//
// It owns no goroutine and no connection: whoever sends a request carries it, and the ways to the others belong to
// consensus. What must hold: a request is sent again only if the one that was asked said that it does not lead, which
// means that nothing was done, so an order is never carried out twice.
package relay
