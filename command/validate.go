package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/posener/complete"

	"github.com/pgraft/pgraft/config"
)

type validateCmd struct{}

func (c *validateCmd) spec() spec {
	return spec{
		name: "validate", args: "FILE_OR_DIR…", minArgs: 1, maxArgs: -1,
		synopsis: "Check configuration files without starting anything",
		help: "Takes the same files in the same order as `pgraft agent -config=…` and reports every mistake with file, line and " +
			"column. Exit code 0 means that an agent would accept it.",
		examples: []string{"pgraft validate /etc/pgraft.d"},
		predict:  complete.PredictFiles("*"),
	}
}

func (c *validateCmd) flags(*flag.FlagSet) {}

func (c *validateCmd) run(_ context.Context, x *call) error {
	_, warnings, err := config.Load(config.LoadOptions{Paths: x.args})
	writeWarnings(x.stderr, warnings)
	if err != nil {
		return configError(err)
	}
	_, err = fmt.Fprintln(x.stdout, "The configuration is valid.")
	return err
}

func writeWarnings(w io.Writer, warnings []config.Problem) {
	for _, p := range warnings {
		fmt.Fprintln(w, "Warning:", p)
	}
}

func configError(err error) error {
	var all *config.Error
	if !errors.As(err, &all) {
		return err
	}
	return advise(fmt.Errorf("the configuration has %s:\n%w", count(len(all.Problems), "mistake"), err),
		"Nothing was started. Every key is explained in the configuration reference.")
}
