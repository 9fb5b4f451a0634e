package managed

import "context"

// Settings are what the cluster wants of a server's configuration.
type Settings struct {
	Cluster         map[string]string // PostgreSQL's parameters for all servers; they win over Config.NodeParams
	PrimaryConninfo string            // whom to stream from, "" = nobody: see Conninfo
	PrimarySlot     string
	SyncNames       string // see SyncNames
	ReadOnly        bool   // sessions begin read-only: a courtesy, as a session can change that
	Gated           bool   // nobody but pgraft gets in
}

// WriteConfig brings the configuration files to settings, whether the server runs or not, and returns what it changed,
// in words for the log; nothing changed is an empty list. A running server has to be told to reload.
func (s *Server) WriteConfig(ctx context.Context, settings Settings) (changes []string, err error) {
	return nil, nil
}
