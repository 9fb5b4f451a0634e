// Package api is the Go client of a pgraft agent's HTTP API and the types that the API speaks. The agent's own
// surfaces render the same types (Status above all), so the package imports nothing else of pgraft.
// It owns no goroutine but the two of each Lock that is held, which Unlock ends. A Client may be used from any number of goroutines.
package api
