package agent

import (
	"context"

	"github.com/pgraft/pgraft/agent/telemetry"
	"github.com/pgraft/pgraft/consensus"
	"github.com/pgraft/pgraft/fsm"
	"github.com/pgraft/pgraft/internal/version"
)

// openMetrics comes before the parts that report to it.
func (a *Agent) openMetrics(context.Context) error {
	metrics, err := telemetry.New(telemetry.Config{
		Logger: a.log.Named("metrics"), Status: a.Status, Applier: a.applierStatus, Version: version.Version,
	})
	if err != nil {
		return err
	}
	if err := metrics.InstallGlobal(); err != nil {
		return err
	}
	a.metrics = metrics
	return nil
}

func (a *Agent) applierStatus() (fsm.ApplierStatus, bool) {
	if a.database == nil {
		return fsm.ApplierStatus{}, false
	}
	return a.database.applier.Status(), true
}

func (a *Agent) consensusHooks() consensus.Hooks {
	return consensus.Hooks{Proposal: a.metrics.Proposal, Entry: a.metrics.Entry, Refused: a.metrics.Refused}
}
