// Package probe asks every other server, about once a second, how it is: how far its log and its PostgreSQL are, and
// whether it counts us as removed. A node can then tell the whole cluster's state by itself, with a leader or without.
//
// The prober owns one goroutine, and one more for each question under way; each question has a deadline, and a server
// that doesn't answer is not asked again before the last question ended. Answers are kept with the time of their
// arrival: nothing here is a claim about now.
package probe
