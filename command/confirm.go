package command

import (
	"bufio"
	"flag"
	"fmt"
	"strings"
)

// confirmation is the -yes flag of verbs that can do harm.
type confirmation struct{ yes bool }

func (c *confirmation) flags(fs *flag.FlagSet) {
	fs.BoolVar(&c.yes, "yes", false, "do it without asking")
}

// ask returns nil if -yes was given or the user types yes.
func (c *confirmation) ask(x *call, question string) error {
	if c.yes {
		return nil
	}
	fmt.Fprintf(x.stderr, "%s Type yes to go on: ", question)
	line, err := bufio.NewReader(x.stdin).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(x.stderr)
		return advise(fmt.Errorf("not confirmed: nothing was changed"), "Run it again with -yes to do it without being asked.")
	}
	if strings.TrimSpace(line) != "yes" {
		return fmt.Errorf("not confirmed: nothing was changed")
	}
	return nil
}
