package command

import (
	"context"
	"fmt"
	"io"

	"github.com/pgraft/pgraft/agent"
	"github.com/pgraft/pgraft/config"
)

// serve runs an agent in this process until a signal or an error ends it.
func serve(ctx context.Context, flags *config.Flags, cfg *config.Config, stderr io.Writer) error {
	log := newLogger(cfg, stderr)
	a, err := agent.New(agent.Options{
		Config: cfg, Logger: log,
		Reload: func() (*config.Config, []config.Problem, error) {
			return config.Load(config.LoadOptions{Flags: flags})
		},
	})
	if err != nil {
		return fmt.Errorf("prepare the agent: %w", err)
	}
	signals, stop := agentSignals()
	defer stop()
	return supervise(ctx, a, log, signals)
}
