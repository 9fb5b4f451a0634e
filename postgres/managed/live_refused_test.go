package managed_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/postgres/managed"
)

// testRefused: a reload goes well though PostgreSQL does not take a value, which is why it is asked.
func (tpl *template) testRefused(t *testing.T) {
	t.Parallel()
	n := tpl.node(t, 1)
	n.start(t)
	n.settings.Cluster = map[string]string{"work_mem": "11MB", "max_connections": "33"} // the latter waits for a restart
	n.reload(t)
	if err := n.Refused(t.Context(), []string{"work_mem", "max_connections"}); err != nil {
		t.Errorf("what is right is refused: %v", err)
	}
	n.settings.Cluster = map[string]string{"work_mem": "banana", "max_connections": "33", "max_files_per_process": "apple", "log_statement": "ddl"}
	n.reload(t)
	var problem *managed.Problem
	err := n.Refused(t.Context(), []string{"Work_Mem", "max_connections", "max_files_per_process", "log_statement"})
	if !errors.As(err, &problem) || !strings.Contains(err.Error(), "max_files_per_process = 'apple', work_mem = 'banana'") {
		t.Errorf("PostgreSQL took bananas: %v", err)
	}
	if err := n.Refused(t.Context(), []string{"log_statement"}); err != nil {
		t.Errorf("another's refusal counts: %v", err)
	}
}
