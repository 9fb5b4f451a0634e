// Package primacy holds the rules by which a cluster agrees who its primary PostgreSQL is: the replicated State, the
// operations that change it, and the arithmetic of acknowledging and counting. It is pure: Apply maps a state and an
// operation to the next state, knows no clock and no network, and starts no goroutine. The state machine (package fsm)
// runs it in log order on every server, the model (model_test.go) explores it exhaustively, and the leader and the
// controllers decide by the same functions.
//
// # Why no acknowledged commit is lost
//
// Members are the servers whose PostgreSQL counts; n of them, the primary among them, a witness never. A commit is
// acknowledged when Acks of the other members have flushed it, so it is on Acks+1 of the n. PostgreSQL's
// synchronous_standby_names may at any time ask for more than State.Sync says and never for less.
//
// A fence(e) makes each member that applies it stop accepting WAL of epochs below e, for good, and then report how far
// its WAL reaches. From n-Acks reports, one is from a server that has the commit: the two sets together are larger than
// n. Nor can it be acknowledged later: if the old primary is among those that reported, it has stopped; if not, the
// n-Acks of them leave it with at most Acks-1 others, and what is not on one of the n-Acks stays short of Acks. So the
// one of them whose WAL reaches furthest has every acknowledged commit. Any n-Acks reports will do, so with more of them
// each server that n-Acks are no further than is Eligible, and Apply lets no other be promoted. What those have that reach
// further was not acknowledged, and is thrown away: an operator's failover replaces the primary even if it has such WAL.
// Acks may be more than half of n, as it is where a standby outside the primary's zone must be among them: then fewer
// reports are enough.
//
// "Furthest" compares (epoch, LSN), where the epoch is the one that the last timeline in the server's WAL was begun in,
// not the one that it was told to follow. Timelines are no measure, as two promotions that did not know of each other
// may have the same number. A commit of epoch e comes after the first record of e's timeline, so who has it has WAL of
// e, and whoever reaches further than that has either more of the same timeline or WAL of a later epoch, whose primary
// was chosen by this same rule. Two things follow that are easily missed:
//
//   - A report may never say less than the WAL holds, neither a lower epoch nor a lower LSN. A server that has
//     received WAL of e and has not replayed the switch to e's timeline can't tell yet, and does not report until it can.
//   - What a new primary has from before its epoch is confirmed by no one who has only that: a member that has all of
//     it and nothing of the new timeline reports an older epoch, and loses the count to a server of an epoch in between.
//     Members confirm it by the first record of the new timeline.
//
// A primary that was promoted or restarted shows rows that nobody may have acknowledged. It lets clients in, readers
// too, when Acks members have flushed all WAL that it had by then, the first record of its epoch included.
//
// A member's report is worth what its WAL remembers. Each copy of the data has a Memory, a name made anew when the data
// is cloned, rewound or found replaced, and only a report with the member's Memory counts. Acknowledgements are by
// Memory, too. So a copy that is gone only makes fewer reports possible, and neither set above gets a server that does
// not remember. Lost tells that the copy is gone; it is committed before pgraft itself destroys a copy. It takes back the
// copy's report, and lets a new copy take the old one's place in a single step. A server that was chosen and has another
// copy by now, or a lost one, must not be promoted: see Chose.
//
// Sync changes to Next in two steps. While Next is set, the primary runs with the stricter of the two rules (see
// Stricter), whose acknowledging members leave out the lost ones. It confirms once that is in force, and then each
// member that is new in Next has flushed all WAL that the primary had, and so have Next.Acks of its members. What was
// acknowledged before the rule was in force is part of that WAL, what was acknowledged since satisfies both rules, and
// Confirm puts Next in the place of Sync. One rule implies the other if even when as many as possible of the members that
// a commit waits for are no members of the other, enough are: k of M imply l of L if k less the size of M without L is at
// least l (Implies). Adding or removing one member with Acks = n/2 is such a step, and so is a new copy in the place of a
// lost one, as the lost one acknowledges nothing; where neither implies the other, NextOp is refused. A version is
// used once, so that a late Confirm confirms what was meant or nothing.
//
// Shrink to the primary alone needs no confirmation: the primary has all it acknowledged. Until it has learnt of it, it
// asks for more than it needs. With one member and no Acks, only that member's own report is counted.
//
// Of two members and a witness, either can go on without the other after a Shrink, which Raft's majority of three
// decides. The member left behind is counted again after Next and Confirm only.
//
// AllowDataLoss makes the chosen server's copy the only one that counts, so that all of the above holds again from
// there. What others had is no longer promised, and Acked goes back to where the copy ends. Where the rules allow the
// choice anyhow, nothing is given up.
//
// With Async commits are acknowledged before anyone else has them, and none of this holds but that there is one primary
// in an epoch: Apply chooses one server for each, and only it can make it ready.
package primacy
