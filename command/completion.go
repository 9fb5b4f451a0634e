package command

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/posener/complete"
)

type completionCmd struct{}

func (c *completionCmd) spec() spec {
	return spec{
		name: "completion", args: "bash|zsh|fish", minArgs: 1, maxArgs: 1,
		synopsis: "Print shell completion for bash, zsh or fish",
		help: "Load the output in your shell, or let pgraft put it into your shell's start-up file:\n" +
			"  pgraft -autocomplete-install      (and -autocomplete-uninstall)",
		examples: []string{
			"source <(pgraft completion bash)",
			"pgraft completion zsh >> ~/.zshrc",
			"pgraft completion fish > ~/.config/fish/completions/pgraft.fish",
		},
		predict: complete.PredictSet("bash", "zsh", "fish"),
	}
}

func (c *completionCmd) flags(*flag.FlagSet) {}

func (c *completionCmd) run(_ context.Context, x *call) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	script, ok := completionScripts[x.args[0]]
	if !ok {
		return usagef("no completion for %q: want bash, zsh or fish", x.args[0])
	}
	_, err = fmt.Fprintf(x.stdout, script, program)
	return err
}

// completionScripts take the program's path. The program completes itself when it finds COMP_LINE in its environment.
var completionScripts = map[string]string{
	"bash": "complete -o default -C '%s' pgraft\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -o default -o nospace -C '%s' pgraft\n",
	"fish": `function __complete_pgraft
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    '%s'
end
complete -c pgraft -a "(__complete_pgraft)"
`,
}
