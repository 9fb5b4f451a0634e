// Command pgraft turns PostgreSQL servers into one cluster: the agent that runs beside each of them, and the tool that
// operates it.
package main

import (
	"os"

	"github.com/pgraft/pgraft/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
