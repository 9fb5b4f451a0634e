package managed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgraft/pgraft/internal/durable"
	"github.com/pgraft/pgraft/postgres"
)

// Settings are what the cluster wants of a server's configuration.
type Settings struct {
	Cluster         map[string]string // PostgreSQL's parameters for all servers; they win over Config.NodeParams
	PrimaryConninfo string            // whom to stream from, "" = nobody: see Conninfo. No file but PostgreSQL's password file gets its password.
	PrimarySlot     string
	SyncNames       string // see SyncNames
	ReadOnly        bool   // sessions begin read-only: a courtesy, as a session can change that
	Gated           bool   // nobody but pgraft gets in
}

// WriteConfig brings the configuration files to settings, whether the server runs or not, and returns what it changed,
// in words for the log and without secrets. A running server has to be told to reload if there is any change. On the
// first call for one that was running already there always is: the agent before may have ended before it told it so.
// ctx bounds the talk with a running server about what ALTER SYSTEM has set.
func (s *Server) WriteConfig(ctx context.Context, settings Settings) (changes []string, err error) {
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	steps := []func(context.Context, conf) ([]string, error){
		s.adoptConfig, s.writeOwnConf, s.scrubAutoConf, s.writeInclude, s.writeHBA,
	}
	conninfo, newPassword, err := s.hidePassword(settings.PrimaryConninfo)
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	settings.PrimaryConninfo = conninfo
	c := conf{cfg: s.cfg, settings: settings, major: s.major, missing: missing}
	for _, line := range s.cfg.HBA {
		if strings.ContainsAny(line, "\r\n") {
			return nil, &Problem{What: fmt.Sprintf("the line %q of postgres.hba is several", line), Hint: "make each an element of the list"}
		}
	}
	c.least = s.leastLimits(ctx)
	tlsChanges, err := s.copyTLS()
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	c.tls, changes = s.TLS(), tlsChanges
	if newPassword {
		changes = append(changes, passFile+": the replication role's password")
	}
	for _, step := range steps {
		did, err := step(ctx, c)
		changes = append(changes, did...)
		if err != nil {
			return changes, fmt.Errorf("write configuration: %w", err)
		}
	}
	if !s.configured && len(changes) == 0 && s.Running() {
		changes = append(changes, "found the server running: it has to read its configuration once")
	}
	s.configured = true
	return changes, nil
}

// leastLimits are what the data of a standby that is about to start asks for: its primary ran with these limits, and it
// ends at once with lower ones, though they may be what the primary is to have after its next restart.
func (s *Server) leastLimits(ctx context.Context) map[string]int {
	if _, err := os.Stat(s.path("standby.signal")); err != nil || s.Running() {
		return nil
	}
	d, err := s.controlData(ctx)
	if err != nil {
		return nil // its start will say what is wrong
	}
	return map[string]int{
		"max_connections": d.MaxConnections, "max_worker_processes": d.MaxWorkerProcesses, "max_wal_senders": d.MaxWALSenders,
		"max_prepared_transactions": d.MaxPreparedTransactions, "max_locks_per_transaction": d.MaxLocksPerTransaction,
	}
}

func missing(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, os.ErrNotExist)
}

// forgetConfig makes Start wait for WriteConfig: the files may be another server's.
func (s *Server) forgetConfig() {
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	s.configured = false
}

func (s *Server) checkConfigured() error {
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	if !s.configured {
		return ErrNotConfigured
	}
	_, errPass := s.writePassFile()
	_, err := s.writeInclude(context.Background(), conf{})
	return errors.Join(errPass, err)
}

// path returns the name of a file in the data directory.
func (s *Server) path(name ...string) string {
	return filepath.Join(append([]string{s.cfg.DataDir}, name...)...)
}

func (s *Server) writeOwnConf(_ context.Context, c conf) ([]string, error) {
	c.base = confValues(s.path("postgresql.conf"))
	before, _ := os.ReadFile(s.path(ownFile)) // what can't be read is written anew
	text := c.render()
	changed, err := s.replace(s.path(ownFile), text, false)
	if err != nil || !changed {
		return nil, err
	}
	return confDiff(string(before), text), nil
}

// confDiff says in words which parameters two texts of pgraft.conf set otherwise.
func confDiff(before, after string) []string {
	old, now := confText(before), confText(after)
	var diff []string
	for name, value := range now {
		if was, ok := old[name]; !ok || was != value {
			diff = append(diff, fmt.Sprintf("%s: %s = %s", ownFile, name, shownValue(name, value)))
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			diff = append(diff, fmt.Sprintf("%s: no %s any more", ownFile, name))
		}
	}
	if len(diff) == 0 {
		return []string{ownFile + ": written anew"}
	}
	slices.Sort(diff)
	return diff
}

func confText(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := parseConfLine(line); ok {
			values[name] = value
		}
	}
	return values
}

// shownValue is fit for a log.
func shownValue(name, value string) string {
	if strings.HasSuffix(name, "conninfo") {
		value = postgres.Redact(value)
	}
	return postgres.QuoteParam(value)
}

func (s *Server) writeInclude(context.Context, conf) ([]string, error) {
	path := s.path("postgresql.conf")
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	changed, err := s.replace(path, withInclude(string(raw)), true)
	if err != nil || !changed {
		return nil, err
	}
	return []string{"postgresql.conf: its last line includes " + ownFile}, nil
}

func (s *Server) writeHBA(_ context.Context, c conf) ([]string, error) {
	var changes []string
	for _, file := range []struct {
		name  string
		lines []string
	}{
		{"pg_ident.conf", identLines(s.peers, c.cfg.Superuser)},
		{"pg_hba.conf", hbaLines(c.cfg, c.settings.Gated)},
	} {
		raw, err := os.ReadFile(s.path(file.name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return changes, err
		}
		changed, err := s.replace(s.path(file.name), withBlock(string(raw), file.lines), false)
		if err != nil {
			return changes, err
		}
		if changed {
			changes = append(changes, file.name+": the lines between "+blockBegin+" and "+blockEnd)
		}
	}
	return changes, nil
}

// scrubTime bounds the talk with a running server about its ALTER SYSTEM settings.
const scrubTime = 2 * time.Second

// scrubAutoConf removes from postgresql.auto.conf what would win over pgraft.conf.
func (s *Server) scrubAutoConf(ctx context.Context, c conf) ([]string, error) {
	const name = "postgresql.auto.conf"
	raw, err := os.ReadFile(s.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, dropped := withoutNames(string(raw), c.sets, false)
	if len(dropped) == 0 {
		return nil, nil
	}
	var changes []string
	for _, line := range dropped {
		param, value, _ := parseConfLine(line)
		changes = append(changes, fmt.Sprintf("%s: removed %s = %s", name, param, shownValue(param, value)))
	}
	if s.Running() {
		// The server itself does it, or it might write back what it read before.
		if err := s.resetParams(ctx, dropped); err == nil {
			return changes, nil
		} else if errors.Is(err, context.Canceled) {
			return nil, err
		} else {
			s.log.Warn("a setting of ALTER SYSTEM is removed from its file", "error", err)
		}
	}
	if raw, err = os.ReadFile(s.path(name)); err != nil {
		return nil, err
	}
	text, _ := withoutNames(string(raw), c.sets, false)
	_, err = s.replace(s.path(name), text, true)
	return changes, err
}

func (s *Server) resetParams(ctx context.Context, lines []string) error {
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // all is done
	for _, line := range lines {
		name, _, _ := parseConfLine(line)
		if _, err := conn.Exec(ctx, "ALTER SYSTEM RESET "+name); err != nil {
			return fmt.Errorf("reset %s: %w", name, err)
		}
	}
	return nil
}

// Standby makes the next start one of a standby, or not. It changes nothing under a running server: one that is being
// promoted removes its standby.signal itself, and ends if it can't.
func (s *Server) Standby(on bool) error {
	path := s.path("standby.signal")
	if _, err := os.Stat(path); (err == nil) != on && s.Running() {
		return fmt.Errorf("make standby or not: %w", ErrRunning)
	}
	if !on {
		for _, path := range []string{path, s.path("recovery.signal")} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("make no standby: %w", err)
			}
		}
	} else if _, err := s.replace(path, "", true); err != nil {
		return fmt.Errorf("make standby: %w", err)
	}
	if s.cfg.NoSync {
		return nil
	}
	if err := durable.SyncDir(s.cfg.DataDir); err != nil {
		return fmt.Errorf("make standby or not: %w", err)
	}
	return nil
}

// replace puts text into a file of PostgreSQL's user, in one step, and reports whether it was another before. Without
// sync a crash of the machine may take it back: for what is written before each start anyway.
func (s *Server) replace(path, text string, sync bool) (changed bool, err error) {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return false, s.pm.Owner.Own(path)
	}
	return s.put(path, text, sync)
}

// put is replace for a file that may hold the text already.
func (s *Server) put(path, text string, sync bool) (changed bool, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // without effect once it is renamed
	_, err = tmp.WriteString(text)
	sync = sync && !s.cfg.NoSync
	if sync && err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close(), s.pm.Owner.Own(tmp.Name())); err != nil {
		return false, err
	}
	if err := os.Rename(tmp.Name(), path); err != nil || !sync {
		return true, err
	}
	return true, durable.SyncDir(filepath.Dir(path))
}
