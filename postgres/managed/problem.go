package managed

import "fmt"

// Problem is something that a person has to change before pgraft can go on.
type Problem struct {
	What string
	Hint string // what to do
}

// Error returns the problem with the hint behind it.
func (p *Problem) Error() string { return p.What + " (" + p.Hint + ")" }

// OtherMajor is the Problem of a server whose programs are of another major version than the cluster's data.
func OtherMajor(server, cluster int) *Problem {
	return &Problem{
		What: fmt.Sprintf("the programs here are PostgreSQL %d and the cluster's data is of PostgreSQL %d", server, cluster),
		Hint: fmt.Sprintf("install PostgreSQL %d on this server, or set postgres.bin_dir to where it is", cluster),
	}
}
