package controller

import (
	"fmt"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/wal"
)

// Copy is what is known about the data here when it is to follow a primary.
type Copy struct {
	SystemID string
	Timeline wal.Timeline
	Epoch    uint64 // that began Timeline, 0 = not known
	// LSN is how far the WAL reaches, or where its last record begins if Shutdown.
	LSN wal.LSN
	// Exact tells that the WAL ends there. A server that did not stop in order may hold more.
	Exact bool
	// Shutdown tells that the last record is the checkpoint of a primary that stopped in order, and begins at LSN.
	Shutdown bool
	// Led tells that the copy was a primary's when it was written to last.
	Led bool
	// Foreign tells that pgraft never had a hand in the copy: it was made by another tool, and may be the only one.
	Foreign bool
	// Timelines are those of the copy with the epochs that began them, as far as known.
	Timelines map[wal.Timeline]uint64
}

// Rejoin is the way in which a copy comes to follow a primary.
type Rejoin string

// The ways.
const (
	RejoinFollow Rejoin = "follow" // as it is
	RejoinLook   Rejoin = "look"   // start it cut off, to see how far its WAL reaches
	RejoinRewind Rejoin = "rewind"
	RejoinClone  Rejoin = "clone"
	RejoinRefuse Rejoin = "refuse" // a person must decide: the data may be worth something
)

// Verdict is how a copy rejoins and why.
type Verdict struct {
	How Rejoin
	Why string
	// From is where WAL that is thrown away begins, 0 = not known.
	From wal.LSN
	// Epoch is what the copy's timeline was taken to belong to.
	Epoch uint64
}

// rejoin decides how a copy comes to follow the primary of an epoch, which is in the lineage. Timeline numbers decide
// nothing, since two promotions that knew nothing of each other may have given the same one.
func rejoin(lineage []primacy.Branch, epoch uint64, systemID string, c Copy) Verdict {
	v := judge(primacy.Chain(lineage, epoch), epoch, systemID, c)
	if v.Epoch == 0 {
		v.Epoch = c.Epoch
	}
	return v
}

func judge(chain []primacy.Branch, epoch uint64, systemID string, c Copy) Verdict {
	switch {
	case len(chain) == 0:
		return Verdict{How: RejoinRefuse, Why: fmt.Sprintf("epoch %d has no place in the lineage yet", epoch)}
	case c.SystemID != systemID:
		return Verdict{How: RejoinRefuse, Why: fmt.Sprintf(
			"the data here is of another cluster (system identifier %s, the primary's is %s)", c.SystemID, systemID)}
	case c.Epoch == 0 && !c.Foreign:
		return Verdict{How: RejoinClone, Why: fmt.Sprintf("nobody knows which epoch began timeline %d of this copy", c.Timeline)}
	case c.Epoch == 0:
		return rejoinForeign(chain, c)
	}
	limit, on := limitOf(chain, c.Epoch)
	switch {
	case on && limit == 0:
		return rejoinSame(c)
	case on:
		return rejoinEarlier(chain, limit, c)
	}
	return rejoinAside(chain, c)
}

// rejoinForeign judges a copy that another tool made. Its timeline is taken by its number, for want of better, so that
// it can only be followed with, not thrown away.
func rejoinForeign(chain []primacy.Branch, c Copy) Verdict {
	c.Epoch = chain[0].Epoch
	for _, b := range chain {
		if b.Timeline == c.Timeline {
			c.Epoch = b.Epoch
		}
	}
	last := chain[len(chain)-1]
	if limit, _ := limitOf(chain, c.Epoch); c.Timeline <= last.Timeline && (limit == 0 || c.LSN <= limit) && !c.Led {
		how := RejoinFollow
		if !c.Exact {
			how = RejoinLook
		}
		return Verdict{How: how, Epoch: c.Epoch, Why: fmt.Sprintf(
			"a standby of the same system identifier, made without pgraft, that has not gone past timeline %d", last.Timeline)}
	}
	return Verdict{How: RejoinRefuse, Why: fmt.Sprintf(
		"the data here (timeline %d, %s) was made without pgraft and is no earlier state of the primary's", c.Timeline, c.LSN)}
}

// rejoinSame judges a copy whose WAL ends in the epoch that it is to follow.
func rejoinSame(c Copy) Verdict {
	switch {
	case c.Led:
		// It was this epoch's primary, and another can only be so after a fence: not reached with a sound state.
		return Verdict{How: RejoinRewind, Why: "the copy led in the epoch that it is to follow", From: c.LSN}
	case !c.Exact:
		return Verdict{How: RejoinLook, Why: "how far its WAL reaches is not known before it has started"}
	}
	return Verdict{How: RejoinFollow, Why: fmt.Sprintf("its WAL is of epoch %d, the primary's", c.Epoch)}
}

// rejoinEarlier judges a copy whose WAL ends in an earlier epoch of the primary's history, which left it at limit.
func rejoinEarlier(chain []primacy.Branch, limit wal.LSN, c Copy) Verdict {
	within := c.LSN <= limit
	if c.Shutdown {
		within = c.LSN < limit // the record that begins at LSN is whole on the other side, or not there at all
	}
	switch {
	case within && c.Exact:
		return Verdict{How: RejoinFollow, Why: fmt.Sprintf("its WAL reaches to %s of epoch %d, which the primary's history left at %s",
			c.LSN, c.Epoch, limit)}
	case within && !c.Led:
		return Verdict{How: RejoinLook, Why: "how far its WAL reaches is not known before it has started"}
	case within:
		return rewindOrClone(chain, c, limit, fmt.Sprintf(
			"it led epoch %d and did not stop in order, so that it may have gone past %s, where the primary's history left it", c.Epoch, limit))
	}
	return rewindOrClone(chain, c, limit, fmt.Sprintf("its WAL of epoch %d reaches to %s, past %s, where the primary's history left it",
		c.Epoch, c.LSN, limit))
}

// rejoinAside judges a copy whose WAL ends in an epoch that is no part of the primary's history.
func rejoinAside(chain []primacy.Branch, c Copy) Verdict {
	from := forkOf(chain, c)
	return rewindOrClone(chain, c, from, fmt.Sprintf("epoch %d, in which its WAL ends (timeline %d, %s), is no part of the primary's history",
		c.Epoch, c.Timeline, c.LSN))
}

// rewindOrClone chooses pg_rewind unless it would be fooled: it takes timelines of one number for one timeline. The
// record knows each timeline of the copy, so that a lower one that it does not know may be anything.
func rewindOrClone(chain []primacy.Branch, c Copy, from wal.LSN, why string) Verdict {
	for _, b := range chain {
		own, known := c.Timelines[b.Timeline]
		if b.Timeline == c.Timeline {
			own, known = c.Epoch, true
		}
		switch {
		case known && own != b.Epoch:
			return Verdict{How: RejoinClone, From: from, Why: fmt.Sprintf(
				"%s; it can't be rewound: its timeline %d began with epoch %d, and the primary's of that number with epoch %d",
				why, b.Timeline, own, b.Epoch)}
		case !known && b.Timeline < c.Timeline:
			return Verdict{How: RejoinClone, From: from, Why: fmt.Sprintf(
				"%s; it can't be rewound: nobody knows whether its timeline %d is the primary's", why, b.Timeline)}
		}
	}
	return Verdict{How: RejoinRewind, Why: why, From: from}
}

// forkOf returns where a copy that is not on the chain left it, 0 if that can't be told.
func forkOf(chain []primacy.Branch, c Copy) wal.LSN {
	for i := len(chain) - 1; i > 0; i-- {
		if c.Timelines[chain[i-1].Timeline] == chain[i-1].Epoch {
			return chain[i].Switch
		}
	}
	return 0
}

// limitOf returns where a chain leaves an epoch, 0 for its last one, and whether the epoch is part of it.
func limitOf(chain []primacy.Branch, epoch uint64) (wal.LSN, bool) {
	for i, b := range chain {
		if b.Epoch != epoch {
			continue
		}
		if i == len(chain)-1 {
			return 0, true
		}
		return chain[i+1].Switch, true
	}
	return 0, false
}

// epochOf tells which epoch began a timeline of this copy: from the record, or else from the history of the primary
// that the copy was told to follow, 0 if neither knows it. Other branches of the lineage are not asked: a timeline of
// the same number there may be another one.
func epochOf(l Local, lineage []primacy.Branch, timeline wal.Timeline) uint64 {
	if epoch, ok := l.Timelines[timeline]; ok {
		return epoch
	}
	chain := primacy.Chain(lineage, l.Following)
	for _, b := range chain {
		if b.Timeline == timeline {
			return b.Epoch
		}
	}
	if len(chain) > 0 && chain[0].Parent == 0 && timeline < chain[0].Timeline {
		return chain[0].Epoch // from before pgraft came, which counts up from there
	}
	return 0
}
