// Package testcluster runs a cluster of real processes for tests and benchmarks: `pgraft demo` started from a freshly
// built binary, found again through its cluster.json. It can kill, freeze and start again every agent and every
// PostgreSQL on its own. All processes and files are gone when the test ends, and a test fails if one stays.
package testcluster
