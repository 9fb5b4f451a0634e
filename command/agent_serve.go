package command

import (
	"context"
	"errors"
	"io"

	"github.com/pgraft/pgraft/config"
)

// serve wires package agent to this process.
func serve(ctx context.Context, opts config.Flags, cfg *config.Config, logTo io.Writer) error {
	return errors.New("this build has no agent yet")
}
