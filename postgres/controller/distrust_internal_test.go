package controller

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/managed"
)

// picky is a PostgreSQL that does not take some values, and may not start at all.
type picky struct {
	Postgres
	running, broken bool
	written         map[string]string
	asked, starts   int
}

var errStart = errors.New("FATAL: the configuration contains errors")

func (p *picky) PID() int {
	if p.running {
		return 1
	}
	return 0
}

func (p *picky) Configure(_ context.Context, s Settings) ([]string, error) {
	p.written = maps.Clone(s.Cluster)
	return []string{"settings"}, nil
}
func (p *picky) Reload(context.Context) error { return nil }
func (p *picky) Fingerprint() (string, error) { return "f", nil }
func (p *picky) Mark(string) error            { return nil }
func (p *picky) refuses() bool                { return p.written["work_mem"] == "banana" }
func (p *picky) Refused(_ context.Context, _ []string) error {
	if p.asked++; p.refuses() {
		return &managed.Problem{What: "PostgreSQL refuses work_mem = 'banana'", Hint: "correct the setting"}
	}
	return nil
}

func (p *picky) Start(context.Context) error {
	if p.starts++; p.broken || p.refuses() {
		return errStart
	}
	p.running = true
	return nil
}

// calm is a cluster whose state stays as it is.
type calm struct{ Raft }

func (calm) State() (primacy.State, <-chan struct{}) { return primacy.State{}, make(chan struct{}) }

func withPicky(t *testing.T, p *picky) *Controller {
	t.Helper()
	c := &Controller{cfg: Config{Postgres: p, Raft: calm{}, DataDir: t.TempDir()}, logger: hclog.NewNullLogger(), memo: memo{took: map[string]string{}}}
	t.Cleanup(c.wg.Wait)
	return c
}

// TestRefusedSettings: what PostgreSQL does not take is left out, until it is set otherwise, and the rest is in force.
func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	p := &picky{running: true}
	c := withPicky(t, p)
	for _, set := range []struct {
		value   string
		written int
		trouble string
	}{{"4MB", 1, ""}, {"banana", 0, "work_mem = 'banana'"}, {"banana", 0, "work_mem = 'banana'"}, {"8MB", 1, ""}} {
		if err := c.configure(t.Context(), &Conf{Wanted: map[string]string{"work_mem": set.value}}, true); err != nil {
			t.Fatalf("%s: %v", set.value, err)
		}
		if len(p.written) != set.written || !strings.Contains(c.memo.badWhy, set.trouble) || set.trouble == "" && c.memo.badWhy != "" {
			t.Errorf("%s: written %v, trouble %q", set.value, p.written, c.memo.badWhy)
		}
	}
	asked := p.asked
	if err := c.configure(t.Context(), &Conf{ReadOnly: true, Wanted: map[string]string{"work_mem": "8MB"}}, true); err != nil || p.asked != asked {
		t.Errorf("what was taken is asked about again: %d times, %v", p.asked-asked, err)
	}
}

// TestStartWithoutRefusedSettings: a setting keeps no server from starting, and is not blamed for what it is not guilty of.
func TestStartWithoutRefusedSettings(t *testing.T) {
	t.Parallel()
	conf := &Conf{Wanted: map[string]string{"work_mem": "banana"}}
	p := &picky{}
	c := withPicky(t, p)
	if err := errors.Join(c.configure(t.Context(), conf, false), c.start(t.Context(), &Inputs{}, conf)); err != nil {
		t.Fatal(err)
	}
	if p.starts != 2 || len(p.written) != 0 || !strings.Contains(c.memo.badWhy, errStart.Error()) {
		t.Errorf("%d starts, written %v, trouble %q", p.starts, p.written, c.memo.badWhy)
	}
	p = &picky{broken: true}
	c = withPicky(t, p)
	err := errors.Join(c.configure(t.Context(), conf, false), c.start(t.Context(), &Inputs{}, conf))
	if !errors.Is(err, errStart) || c.memo.badWhy != "" || c.memo.inForce != nil {
		t.Errorf("a server that can't start: %v, trouble %q", err, c.memo.badWhy)
	}
}
