// Package command is the command line of pgraft: a file per verb, over the Go client in api.
//
// A verb is a struct that says what it is (spec), declares its flags and runs. Everything else is the same for all of
// them and written once: parsing, help, completion and exit codes in verb.go, the connection to an agent in connect.go,
// what an error means and what to do about it in explain.go, tables and JSON in output.go.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage; lock and watch pass on the code of the command that they ran.
package command
