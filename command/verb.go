package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/posener/complete"
)

// verb is one command.
type verb interface {
	spec() spec
	// flags declares the verb's flags.
	flags(fs *flag.FlagSet)
	// run does the work. ctx ends with SIGINT or SIGTERM.
	run(ctx context.Context, c *call) error
}

// spec is what a verb says about itself.
type spec struct {
	name     string // "kv get"
	args     string // "KEY [VALUE]"
	synopsis string // one line, no full stop
	help     string
	examples []string

	minArgs, maxArgs int // maxArgs -1: no limit
	// child tells that the arguments end in a command line of its own, whose flags are not pgraft's.
	child bool
	// ownSignals tells that the verb treats signals itself.
	ownSignals bool
	predict    complete.Predictor
}

// call is one run of a verb.
type call struct {
	*world
	args []string
}

// usageError is a mistake in the command line: exit code 2 and a pointer to the help.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{msg: fmt.Sprintf(format, args...)}
}

// exitError ends the run with a code of its own; a nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// adapter makes a verb a cli.Command.
type adapter struct {
	verb
	world *world
	set   *flag.FlagSet
}

func newAdapter(v verb, w *world) *adapter {
	set := flag.NewFlagSet(v.spec().name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	v.flags(set)
	return &adapter{verb: v, world: w, set: set}
}

// Synopsis returns the verb in one line.
func (a *adapter) Synopsis() string { return a.spec().synopsis }

// Run parses args, runs the verb and returns the exit code.
func (a *adapter) Run(args []string) int {
	if a.spec().child && len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	rest, err := a.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(a.world.stdout, a.Help())
		return exitDone
	}
	if err != nil {
		return a.fail(&usageError{msg: err.Error()})
	}
	if err := a.checkCount(rest); err != nil {
		return a.fail(err)
	}
	return a.fail(a.start(rest))
}

func (a *adapter) start(args []string) error {
	ctx := context.Background()
	if !a.spec().ownSignals {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		// The second signal ends the process at once: what runs after the first may hang.
		context.AfterFunc(ctx, stop)
	}
	return a.run(ctx, &call{world: a.world, args: args})
}

// parse takes flags before, between and behind the arguments. A negative number, "-" and all behind "--" are arguments.
func (a *adapter) parse(args []string) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		if isArgument(args[0]) {
			rest = append(rest, args[0])
			args = args[1:]
			if a.spec().child && len(rest) > a.spec().minArgs-1 {
				return append(rest, args...), nil
			}
			continue
		}
		if args[0] == "--" {
			return append(rest, args[1:]...), nil
		}
		if err := a.set.Parse(args); err != nil {
			return nil, a.flagError(err)
		}
		consumed := args[:len(args)-a.set.NArg()]
		args = a.set.Args()
		if len(consumed) > 0 && consumed[len(consumed)-1] == "--" {
			return append(rest, args...), nil
		}
	}
	return rest, nil
}

// flagError suggests the flag that an unknown one was meant to be.
func (a *adapter) flagError(err error) error {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return err
	}
	var known []string
	a.set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if s := nearest(name, known); s != "" {
		return fmt.Errorf("there is no flag -%s; did you mean -%s?", name, s)
	}
	return fmt.Errorf("there is no flag -%s", name)
}

func isArgument(s string) bool {
	if s == "" || s[0] != '-' || s == "-" {
		return true
	}
	return s[1] >= '0' && s[1] <= '9'
}

func (a *adapter) checkCount(args []string) error {
	s := a.spec()
	switch {
	case len(args) < s.minArgs && s.minArgs == s.maxArgs && s.minArgs == 1:
		return usagef("%s is missing", s.args)
	case len(args) < s.minArgs:
		return usagef("too few arguments, want: %s", s.args)
	case s.maxArgs >= 0 && len(args) > s.maxArgs && s.maxArgs == 0:
		return usagef("unexpected argument %q: pgraft %s takes none", args[0], s.name)
	case s.maxArgs >= 0 && len(args) > s.maxArgs:
		return usagef("unexpected argument %q, want: %s", args[s.maxArgs], s.args)
	}
	return nil
}

// fail prints what went wrong and what to do, and returns the exit code.
func (a *adapter) fail(err error) int {
	var usage *usageError
	var exit *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintf(a.world.stderr, "Error: %s\n  See: pgraft %s -h\n", usage.msg, a.spec().name)
		return exitUsage
	case errors.As(err, &exit) && exit.err == nil:
		return exit.code
	}
	writeError(a.world.stderr, err)
	if exit != nil {
		return exit.code
	}
	return exitFailed
}

// AutocompleteArgs completes the verb's arguments.
func (a *adapter) AutocompleteArgs() complete.Predictor {
	if p := a.spec().predict; p != nil {
		return p
	}
	return complete.PredictNothing
}

// AutocompleteFlags completes the verb's flags.
func (a *adapter) AutocompleteFlags() complete.Flags {
	flags := complete.Flags{}
	a.set.VisitAll(func(f *flag.Flag) { flags["-"+f.Name] = predictFlag(f) })
	return flags
}

func predictFlag(f *flag.Flag) complete.Predictor {
	switch {
	case isBool(f):
		return complete.PredictNothing
	case f.Name == "format":
		return complete.PredictSet("table", "json")
	case strings.HasSuffix(f.Name, "file") || f.Name == "config":
		return complete.PredictFiles("*")
	case strings.HasSuffix(f.Name, "dir"):
		return complete.PredictDirs("*")
	}
	return complete.PredictAnything
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
