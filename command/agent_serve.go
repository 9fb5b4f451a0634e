package command

import (
	"context"
	"errors"
	"io"

	"github.com/pgraft/pgraft/config"
)

// serve runs an agent in this process until a signal or an error ends it.
func serve(context.Context, *config.Flags, *config.Config, io.Writer) error {
	return errors.New("this build has no agent yet")
}
