package postgres

import "path/filepath"

// Places lists the directories that the PostgreSQL with this data directory writes to and that may be on file systems of
// their own: the data directory first, then its WAL and its tablespaces, as far as they can be read.
func Places(dataDir string) []string {
	places := []string{dataDir}
	for _, pattern := range []string{"pg_wal", filepath.Join("pg_tblspc", "*")} {
		more, _ := filepath.Glob(filepath.Join(dataDir, pattern)) // the patterns are well formed
		places = append(places, more...)
	}
	return places
}
