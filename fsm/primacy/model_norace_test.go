//go:build !race

package primacy_test

const racing = false // the race detector has nothing to find in one goroutine, and makes it ten times slower
