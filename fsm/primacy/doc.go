// Package primacy holds the rules by which a cluster agrees who its primary PostgreSQL is: the replicated State, the
// operations that change it, and the arithmetic of acknowledging and counting. It is pure: Apply maps a state and an
// operation to the next state, knows no clock and no network, and starts no goroutine. The state machine (package fsm)
// runs it in log order on every server, the model (model_test.go) explores it exhaustively, and the leader and the
// controllers decide by the same functions.
//
// # Why no acknowledged commit is lost
//
// Members are the servers whose PostgreSQL counts; n of them, the primary among them. A commit is acknowledged when
// Acks of the other members have flushed it, so it is on Acks+1 of the n. PostgreSQL's synchronous_standby_names may at
// any time ask for more than State.Sync says and never for less.
//
// A fence(e) makes each member that applies it stop accepting WAL of epochs below e, for good, and then report how far
// its WAL reaches. From n-Acks reports, one is from a server that has the commit: the two sets together are larger than
// n. Since the members that reported acknowledge nothing for the old primary any more, the n-Acks of them leave it with
// at most Acks-1 others: what is not on one of them now is never acknowledged. So the one whose WAL reaches furthest has
// every acknowledged commit, and Apply lets no other be promoted.
//
// "Furthest" compares (epoch, LSN), where the epoch is the one that the last timeline in the server's WAL was begun in,
// not the one that it was told to follow: a server that was behind keeps the older epoch until it has replayed the
// switch. Timelines are no measure, as two promotions that did not know of each other may have the same number.
//
// A member's report is worth what its WAL remembers. Each copy of the data has a Memory, a name made anew when the data
// is cloned, rewound or found replaced, and only a report with the member's Memory counts. Lost tells that the copy is
// gone; it is committed before pgraft itself destroys a copy.
//
// Sync changes to Next in two steps. While Next is set, the primary runs with the stricter of the two rules (see
// Stricter), and confirms once it is in force, each server new in Next has flushed all WAL that the primary had by then,
// and so have Next.Acks of its members. Then each commit acknowledged so far satisfies both rules, and Confirm puts
// Next in the place of Sync. Shrink to the primary alone needs no confirmation: the primary has all it acknowledged.
package primacy
