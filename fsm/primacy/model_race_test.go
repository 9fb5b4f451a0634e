//go:build race

package primacy_test

const racing = true
