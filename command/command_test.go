package command_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/command"
)

var update = flag.Bool("update", false, "write the golden files and the reference page")

// TestMain lets a test run this binary as pgraft itself, where a process of its own is needed.
func TestMain(m *testing.M) {
	if os.Getenv("PGRAFT_TEST_MAIN") == "1" {
		os.Exit(command.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

type result struct {
	code           int
	stdout, stderr string
}

// run runs a command line in this process.
func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := command.Run(args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// process is a pgraft of its own.
func process(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	// The race detector would hold up the end of each process for a second.
	cmd.Env = append(append(os.Environ(), "PGRAFT_TEST_MAIN=1", "GORACE=halt_on_error=1 atexit_sleep_ms=0"), env...)
	return cmd
}

// agent serves answers by "METHOD /path", and makes the verbs of this test ask it.
func agent(t *testing.T, answers map[string]any) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, answer := range answers {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if h, ok := answer.(func(http.ResponseWriter, *http.Request)); ok {
				h(w, r)
				return
			}
			reply(t, w, answer)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv(api.EnvAddress, server.URL)
	return server
}

func reply(t *testing.T, w http.ResponseWriter, answer any) {
	t.Helper()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(api.HeaderIndex, "42")
	w.Header().Set(api.HeaderKnownLeader, "true")
	if e, ok := answer.(*api.Error); ok {
		w.WriteHeader(e.StatusCode)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		t.Errorf("encode answer: %v", err)
	}
}

// golden compares with testdata/NAME, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (look at the change, then -update)\n--- got\n%s\n--- want\n%s", path, got, want)
	}
}

// fits fails for a line that is too wide for the screen.
func fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("line of %d columns: %s", n, line)
		}
	}
}
