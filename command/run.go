package command

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/cli"

	"github.com/pgraft/pgraft/internal/version"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// world is what a verb may touch outside of itself; tests give their own.
type world struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// Run runs the command line in args, which excludes the name of the program, and returns the exit code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	w := &world{stdin: stdin, stdout: stdout, stderr: stderr}
	c := &cli.CLI{
		Name:         "pgraft",
		Version:      version.Get().String(),
		Args:         shieldChild(args),
		Commands:     commands(w),
		HelpFunc:     overview,
		HelpWriter:   stdout,
		ErrorWriter:  stderr,
		Autocomplete: true,
	}
	if code, wrong := misused(c, args, w); wrong {
		return code
	}
	code, err := c.Run()
	if err != nil {
		fmt.Fprintln(stderr, "Error:", err)
		return exitFailed
	}
	return code
}

// misused answers what names no verb, in our own words and with our own exit code. The shell's questions for completion
// come with the same arguments as a run and are left to the cli package.
func misused(c *cli.CLI, args []string, w *world) (code int, wrong bool) {
	if os.Getenv("COMP_LINE") != "" || c.IsHelp() || c.IsVersion() {
		return 0, false
	}
	verb := c.Subcommand()
	switch {
	case len(args) > 0 && strings.HasPrefix(args[0], "-") && verb != "":
		fmt.Fprintf(w.stderr, "Error: flags come behind the verb: pgraft %s %s\n", verb, args[0])
		return exitUsage, true
	case verb == "" && len(args) > 0 && strings.Contains(args[0], "autocomplete-"):
		return 0, false
	case verb == "":
		fmt.Fprintln(w.stderr, overview(c.Commands))
		return exitUsage, true
	}
	if _, ok := c.Commands[verb]; !ok {
		unknown(w.stderr, "pgraft", verb, slices.Collect(maps.Keys(c.Commands)))
		return exitUsage, true
	}
	return 0, false
}

// shieldChild keeps the cli package from reading the flags of the command that lock and watch run: `pgraft lock key
// psql -h db1` asks for no help.
func shieldChild(args []string) []string {
	if len(args) > 0 && (args[0] == "lock" || args[0] == "watch") {
		return append([]string{args[0], "--"}, args[1:]...)
	}
	return args
}

func unknown(w io.Writer, parent, verb string, known []string) {
	fmt.Fprintf(w, "Error: %s has no command %q.", parent, verb)
	if s := nearest(verb, known); s != "" {
		fmt.Fprintf(w, " Did you mean %q?", s)
	}
	fmt.Fprintf(w, "\n  See: %s -h\n", parent)
}

// overview is the help of pgraft itself: every verb once, in the groups that an operator thinks in.
func overview(commands map[string]cli.CommandFactory) string {
	var b strings.Builder
	b.WriteString("Usage: pgraft VERB [flags] [arguments]\n\n" +
		"pgraft turns PostgreSQL servers into one cluster. Try it: pgraft demo\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "\n%s\n", g.title)
		for _, name := range g.verbs {
			factory, ok := commands[name]
			if !ok {
				continue
			}
			if cmd, err := factory(); err == nil {
				fmt.Fprintf(&b, "  %-12s  %s\n", name, cmd.Synopsis())
			}
		}
	}
	b.WriteString("\nEvery verb explains itself: pgraft VERB -h. Shell completion: pgraft completion -h\n" +
		"The agent is found at PGRAFT_HTTP_ADDR or -http-addr, by default http://127.0.0.1:7400.")
	return b.String()
}
