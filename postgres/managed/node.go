package managed

import (
	"maps"
	"slices"
)

// SetNode replaces what Config says of this node alone: its parameters and its lines for pg_hba.conf. They count from the
// next WriteConfig on.
func (s *Server) SetNode(params map[string]string, hba []string) {
	s.filesMu.Lock()
	defer s.filesMu.Unlock()
	s.cfg.NodeParams, s.cfg.HBA = maps.Clone(params), slices.Clone(hba)
}
