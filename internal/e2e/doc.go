// Package e2e holds the tests that use pgraft as its users do: real agents, real PostgreSQL servers, psql, curl's
// requests and the command line. It has no code of its own.
package e2e
