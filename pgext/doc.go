// Package pgext is what of pgraft lives inside and beside PostgreSQL.
//
// It owns the extension (sql/: schema, functions, rights) and its installation and upgrade, the status file that the
// reading functions look at, and the console, an endpoint of PostgreSQL's protocol on a Unix socket that the changing
// functions reach over dblink and an operator reaches with psql.
//
// The invariant that the parts keep together: nobody who asks in SQL is told of a leadership, a quorum or a live agent
// past the moment up to which the agent vouched for it. The file carries those moments, written by the agent's clock,
// and the functions compare them with PostgreSQL's on the same host at each call.
//
// Goroutines: a Console has one that accepts and one per connection, all awaited by Close. The rest has none.
package pgext
