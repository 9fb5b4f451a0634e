package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/agent/datadir"
	"github.com/pgraft/pgraft/agent/logstream"
	"github.com/pgraft/pgraft/agent/relay"
	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/config"
)

// lifecycle is what an operator may ask of this agent itself.
type lifecycle struct{ a *Agent }

// Join exchanges gossip with the nodes at addrs and returns how many that worked with.
func (l lifecycle) Join(ctx context.Context, addrs []string) (int, error) {
	n, err := l.a.gossip.Join(ctx, addrs)
	if err != nil {
		return n, &api.Error{Code: api.CodeConflict, Message: "cannot join: " + err.Error(), Hint: "check the address and port, cluster_name and encrypt on both sides"}
	}
	return n, nil
}

// Leave retires this node and then stops the agent.
func (l lifecycle) Leave(ctx context.Context) error {
	if err := l.a.leave(ctx); err != nil {
		return err
	}
	l.a.stop(errLeft)
	return nil
}

// Info returns every value in force, where it came from, and whether it fits what this node measures.
func (l lifecycle) Info() []api.InfoValue { return l.a.info() }

// Monitor streams the agent's log.
func (l lifecycle) Monitor(ctx context.Context, level hclog.Level, json bool) (<-chan []byte, error) {
	return logstream.Follow(ctx, l.a.log, level, json), nil
}

// Reload reads the configuration again and applies what can change live.
func (l lifecycle) Reload(context.Context) (api.ReloadResult, error) {
	result, err := l.a.reload()
	if err != nil {
		return result, &api.Error{Code: api.CodeBadRequest, Message: "reload refused, nothing was changed: " + err.Error()}
	}
	return result, nil
}

// leave takes this server out of the cluster: leadership first, so that the next leader can remove it; the Raft
// configuration and the registry next, which is what counts; gossip last, so that the others hear a goodbye.
func (a *Agent) leave(ctx context.Context) error {
	if err := a.giveUpLeadership(ctx); err != nil {
		return err
	}
	self := string(a.raft.ServerID())
	a.leaving.Store(true)
	if err := a.retireSelf(ctx, self); err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	if err := datadir.WriteRetired(a.cfg.DataDir, datadir.Retired{ServerID: self, Reason: "left", At: time.Now()}); err != nil {
		return err
	}
	if err := a.gossip.Leave(ctx); err != nil {
		a.log.Warn("the others may take this node for failed; it is retired all the same", "error", err)
	}
	return nil
}

func (a *Agent) giveUpLeadership(ctx context.Context) error {
	if !a.raft.IsLeader() {
		return nil
	}
	if _, servers := a.raft.Configuration(); len(servers) < 2 {
		return &api.Error{
			Code: api.CodeConflict, Message: "cannot leave: this is the cluster's only server",
			Hint: "stop the agent with SIGTERM; to end the cluster, remove its data_dir afterwards",
		}
	}
	if err := a.raft.TransferLeadership(ctx, ""); err != nil {
		return a.apiError(err)
	}
	return nil
}

// retryPause is between two attempts to find a leader that lets this node go.
const retryPause = 200 * time.Millisecond

// retireSelf asks whoever leads to let this node go, until ctx ends.
func (a *Agent) retireSelf(ctx context.Context, self string) error {
	err := relay.ErrNoLeader
	for {
		if leader, _ := a.raft.Leader(); leader != "" && leader != raft.ServerID(self) {
			if err = a.callPeer(ctx, string(leader), retirePath, retireRequest{ServerID: self, Reason: "left"}, &struct{}{}); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(retryPause):
		}
	}
}

// current is the configuration with what reloads changed live.
func (a *Agent) current() *config.Config { return a.live.Load() }

// Reload reads the configuration again, for SIGHUP; the outcome is in the log.
func (a *Agent) Reload() error {
	_, err := a.reload()
	return err
}

// reload applies what can change live. The certificates are read again in any case.
func (a *Agent) reload() (api.ReloadResult, error) {
	var result api.ReloadResult
	next, problems, err := a.opts.Reload()
	if err != nil {
		return result, fmt.Errorf("read the configuration: %w", err)
	}
	for _, p := range problems {
		a.log.Warn("configuration", "problem", p.String())
	}
	if err := readPostgresDefaults(context.Background(), next, a.log); err != nil {
		return result, err
	}
	result.Applied, result.NeedsRestart = config.Diff(a.files.Load(), next)
	if a.tls != nil {
		if err := a.tls.Reload(); err != nil {
			return api.ReloadResult{}, fmt.Errorf("read the certificates: %w", err)
		}
	}
	a.files.Store(next)
	a.managed.reload(next)
	if err := a.applyLive(); err != nil {
		return api.ReloadResult{}, err
	}
	a.log.Info("configuration reloaded", "applied", result.Applied, "needs_restart", result.NeedsRestart)
	return result, nil
}

// applyLive takes up what the files and the cluster's settings say of the keys that can change while the agent runs.
func (a *Agent) applyLive() error {
	a.liveMu.Lock()
	defer a.liveMu.Unlock()
	settings := make(map[string]string)
	_, rows := a.fsm.Store().Settings(nil)
	for _, s := range rows {
		settings[s.Name] = s.Value
	}
	next, problems := a.files.Load().WithSettings(settings)
	for _, p := range problems {
		a.log.Warn("cluster-wide setting", "problem", p.String())
	}
	if err := a.raft.Reload(next.Raft.SnapshotInterval, next.Raft.SnapshotThreshold, next.Raft.TrailingLogs); err != nil {
		return fmt.Errorf("tune raft: %w", err)
	}
	a.gossip.SetRetryJoin(next.RetryJoin, next.RetryInterval)
	a.log.SetLevel(hclog.LevelFromString(next.LogLevel))
	a.live.Store(next)
	return nil
}
