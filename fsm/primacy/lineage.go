package primacy

import (
	"cmp"
	"slices"
)

// MaxLineage is how many branches State.Lineage keeps.
const MaxLineage = 1000

// Chain returns the history of an epoch: its own branch and those it came from, oldest first. It begins late where an
// ancestor is not in the lineage, and is empty if the epoch is not.
func Chain(lineage []Branch, epoch uint64) []Branch {
	var chain []Branch
	for epoch != 0 {
		i, ok := slices.BinarySearchFunc(lineage, epoch, func(b Branch, e uint64) int { return cmp.Compare(b.Epoch, e) })
		if !ok {
			break
		}
		chain = append(chain, lineage[i])
		if lineage[i].Parent >= epoch {
			break // no history goes back to itself
		}
		epoch = lineage[i].Parent
	}
	slices.Reverse(chain)
	return chain
}

// grow adds the branches that are not there yet, and drops the oldest ones of too many.
func grow(lineage, more []Branch) []Branch {
	lineage = slices.Clone(lineage)
	for _, b := range more {
		if i, ok := slices.BinarySearchFunc(lineage, b.Epoch, func(b Branch, e uint64) int { return cmp.Compare(b.Epoch, e) }); !ok {
			lineage = slices.Insert(lineage, i, b)
		}
	}
	return slices.Clone(lineage[max(0, len(lineage)-MaxLineage):])
}
