// Package httpapi is the HTTP API of an agent, as section 9 of the design lays it down. One table (routes.go) says
// what there is: the request multiplexer, the OpenAPI document and the reference page all come from it.
//
// Handlers depend on the small interfaces of backend.go, not on the agent. The package owns no goroutine beside
// net/http's own; Close ends the requests that wait for something (blocking queries and streams).
//
// What it keeps true: every answer that is no success has a JSON body with a code; a write's answer never says more
// than is known (503: not done; 504: in doubt, with the request id that makes a repeat safe); a read that asks for
// the leader's answer is never answered from a follower's memory; and a request is sent on to the leader at most once.
package httpapi
