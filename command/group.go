package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/cli"
)

// group is a word that only has verbs below it: `pgraft kv`.
type group struct {
	name, synopsis, example string
	world                   *world
	below                   map[string]string // verb → synopsis
}

var (
	_ cli.Command             = (*group)(nil)
	_ cli.CommandHelpTemplate = (*group)(nil)
)

// Synopsis returns the group in one line.
func (g *group) Synopsis() string { return g.synopsis }

// HelpTemplate keeps the cli package from listing the verbs a second time.
func (g *group) HelpTemplate() string { return "{{.Help}}" }

// Help returns the usage and the verbs.
func (g *group) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: pgraft %s VERB [flags] [arguments]\n\n%s.\n\nVerbs:\n", g.name, g.synopsis)
	for _, verb := range g.verbs() {
		fmt.Fprintf(&b, "  %-16s  %s\n", verb, g.below[verb])
	}
	fmt.Fprintf(&b, "\nExample:\n  %s", g.example)
	return b.String()
}

func (g *group) verbs() []string {
	verbs := make([]string, 0, len(g.below))
	for v := range g.below {
		verbs = append(verbs, v)
	}
	slices.Sort(verbs)
	return verbs
}

// Run is reached only without a verb, or with one that does not exist.
func (g *group) Run(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(g.world.stderr, g.Help())
		return exitUsage
	}
	unknown(g.world.stderr, "pgraft "+g.name, args[0], g.verbs())
	return exitUsage
}
