package controller_test

import (
	"os"
	"path/filepath"
	"strings"
)

// hidesSecrets checks that neither PostgreSQL's log nor its configuration has a password of the replication role's,
// whatever the server was put through.
func (n *node) hidesSecrets() {
	files, err := filepath.Glob(filepath.Join(n.dataDir(), "*.conf*"))
	if err != nil {
		n.t.Error(err)
	}
	for _, path := range append(files, filepath.Join(n.dir, "log")) {
		raw, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			n.t.Error(err)
		}
		for _, secret := range []string{"geheim", "anders"} {
			if _, rest, found := strings.Cut(string(raw), secret); found {
				n.t.Errorf("%s of %s has the password, before %.80q", filepath.Base(path), n.id, rest)
			}
		}
	}
}
