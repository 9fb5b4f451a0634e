package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/internal/testcluster"
)

// The operations on one key. Every write writes a value of its own, so a value stands for the modify index that it got:
// a compare-and-set by index is one by value.
const (
	opRead = iota
	opPut
	opCAS
)

type registerInput struct {
	op       int
	key      string
	value    string // to write
	expected string // of the compare-and-set: the value that had the index asked for
}

type registerOutput struct {
	unknown bool   // it may have been applied, or be applied later, or never
	ok      bool   // of the compare-and-set
	value   string // read; "" = no such key
}

// registerModel is a set of independent registers. An operation of unknown outcome never returns, so that it may take
// effect at any time after its call, or after all others, which is never.
func registerModel() porcupine.Model {
	return porcupine.Model{
		Partition: partitionByKey,
		Init:      func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			in, out := input.(registerInput), output.(registerOutput)
			switch in.op {
			case opRead:
				return out.value == state, state
			case opPut:
				return true, in.value
			}
			matches := state == in.expected
			if !out.unknown && matches != out.ok {
				return false, state
			}
			if matches {
				return true, in.value
			}
			return true, state
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	}
}

func partitionByKey(history []porcupine.Operation) [][]porcupine.Operation {
	byKey := make(map[string][]porcupine.Operation)
	for _, op := range history {
		key := op.Input.(registerInput).key
		byKey[key] = append(byKey[key], op)
	}
	parts := make([][]porcupine.Operation, 0, len(byKey))
	for _, part := range byKey {
		parts = append(parts, part)
	}
	return parts
}

// TestRegisterModel makes sure that the check can fail: on a stale read, on a lost write, on one applied twice, and on
// two winners of one compare-and-set.
func TestRegisterModel(t *testing.T) {
	read := func(value string, call, ret int64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{op: opRead, key: "k"}, Call: call, Output: registerOutput{value: value}, Return: ret}
	}
	put := func(value string, call, ret int64, unknown bool) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{op: opPut, key: "k", value: value}, Call: call, Output: registerOutput{unknown: unknown}, Return: ret}
	}
	cas := func(expected, value string, ok bool, call, ret int64) porcupine.Operation {
		in := registerInput{op: opCAS, key: "k", value: value, expected: expected}
		return porcupine.Operation{Input: in, Call: call, Output: registerOutput{ok: ok}, Return: ret}
	}
	for name, tt := range map[string]struct {
		history []porcupine.Operation
		want    bool
	}{
		"good":             {[]porcupine.Operation{put("a", 1, 2, false), read("a", 3, 4), cas("a", "b", true, 5, 6), read("b", 7, 8)}, true},
		"in doubt, done":   {[]porcupine.Operation{put("a", 1, 99, true), read("", 2, 3), read("a", 4, 5)}, true},
		"in doubt, undone": {[]porcupine.Operation{put("a", 1, 99, true), read("", 2, 3), read("", 4, 5)}, true},
		"stale read":       {[]porcupine.Operation{put("a", 1, 2, false), put("b", 3, 4, false), read("a", 5, 6)}, false},
		"lost write":       {[]porcupine.Operation{put("a", 1, 2, false), read("", 3, 4)}, false},
		"applied twice":    {[]porcupine.Operation{put("a", 1, 99, true), read("a", 2, 3), put("b", 4, 5, false), read("b", 6, 7), read("a", 8, 9)}, false},
		"two winners":      {[]porcupine.Operation{put("a", 1, 2, false), cas("a", "b", true, 3, 6), cas("a", "c", true, 4, 5)}, false},
		"wrong loser":      {[]porcupine.Operation{put("a", 1, 2, false), cas("a", "b", false, 3, 4)}, false},
	} {
		if got := porcupine.CheckOperations(registerModel(), tt.history); got != tt.want {
			t.Errorf("%s: linearizable %v, want %v", name, got, tt.want)
		}
	}
}

// TestLinearizable lets clients read, write and compare-and-set through all nodes while leaders are killed, frozen and
// stopped, and checks that all that they were told fits one order.
func TestLinearizable(t *testing.T) {
	c := testcluster.Custom(t)
	c.AddAll(testcluster.Spec{Name: "a"}, testcluster.Spec{Name: "b"}, testcluster.Spec{Name: "c"})
	c.StartAll()
	ctx, cancel := context.WithCancel(t.Context())
	h := &historian{nodes: c.Nodes, start: time.Now(), client: &http.Client{Timeout: 4 * time.Second}}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { h.work(ctx, i) })
	}
	for round := range 9 {
		h.waitProgress(t, 150)
		disturb(t, c, round)
	}
	h.waitProgress(t, 150)
	cancel()
	wg.Wait()
	h.verify(t)
}

// disturb takes the leader away for a moment, each time in another way.
func disturb(t *testing.T, c *testcluster.Cluster, round int) {
	t.Helper()
	leader := c.Leader()
	switch round % 3 {
	case 0:
		c.KillAgent(leader)
		c.Leader(c.Others(leader)...)
		c.StartAgent(leader)
	case 1:
		c.Freeze(leader)
		c.Leader(c.Others(leader)...)
		time.Sleep(500 * time.Millisecond) // the new leader writes what the old one does not know
		c.Continue(leader)
	case 2:
		c.TerminateAgent(leader)
		c.StartAgent(leader)
	}
}

// historian runs clients and keeps what they asked and were told.
type historian struct {
	nodes  []*testcluster.Node
	start  time.Time
	client *http.Client
	done   atomic.Int64 // operations with a known outcome
	values atomic.Int64 // handed out

	mu      sync.Mutex
	history []porcupine.Operation
	unknown int
}

// keysPerStretch operations go to one key before the clients move to the next: an operation in doubt stays possible to
// the end of its key's history, and many of them would make the check slow.
const (
	keysAtOnce   = 3
	opsPerNewKey = 400
)

func (h *historian) key() string {
	return fmt.Sprintf("lin/%d/%d", h.done.Load()/opsPerNewKey, rand.IntN(keysAtOnce))
}

func (h *historian) work(ctx context.Context, client int) {
	seen := make(map[string]api.KVPair) // this client's latest reads, what it compares with
	for ctx.Err() == nil {
		in := registerInput{op: rand.IntN(3), key: h.key()}
		pair, known := seen[in.key]
		if in.op == opCAS && !known {
			in.op = opRead
		}
		if in.op != opRead {
			in.value = fmt.Sprintf("v%d", h.values.Add(1))
			in.expected = string(pair.Value)
		}
		called := time.Since(h.start)
		var out registerOutput
		var happened bool
		if in.op == opRead {
			pair, happened = h.read(ctx, in.key)
			out.value = string(pair.Value)
			if happened {
				seen[in.key] = pair
			}
		} else {
			out, happened = h.write(ctx, in, pair.ModifyIndex)
		}
		if happened {
			h.record(client, in, out, called)
		}
	}
}

func (h *historian) record(client int, in registerInput, out registerOutput, called time.Duration) {
	returned := time.Since(h.start)
	if out.unknown {
		returned = time.Hour // never
	} else {
		h.done.Add(1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if out.unknown {
		h.unknown++
	}
	h.history = append(h.history, porcupine.Operation{ClientId: client, Input: in, Call: int64(called), Output: out, Return: int64(returned)})
}

// read returns the pair, empty for no such key, and false if there was no answer.
func (h *historian) read(ctx context.Context, key string) (api.KVPair, bool) {
	code, body, _ := h.send(ctx, http.MethodGet, "/v1/kv/"+key+"?consistent", "", "")
	switch code {
	case http.StatusNotFound:
		return api.KVPair{}, true
	case http.StatusOK:
		var pairs []api.KVPair
		if err := json.Unmarshal(body, &pairs); err == nil && len(pairs) == 1 {
			return pairs[0], true
		}
	}
	return api.KVPair{}, false
}

// write returns false if the write certainly did not happen. Every second one has a request id and is repeated, through
// any node, until its outcome is known: a write that is repeated is still one write.
func (h *historian) write(ctx context.Context, in registerInput, index uint64) (registerOutput, bool) {
	path := "/v1/kv/" + in.key
	if in.op == opCAS {
		path += fmt.Sprintf("?cas=%d", index)
	}
	id := ""
	if rand.IntN(2) == 0 {
		id = "lin-" + in.value
	}
	deadline := time.Now().Add(15 * time.Second)
	for attempt := 0; ; attempt++ {
		code, _, err := h.send(ctx, http.MethodPut, path, in.value, id)
		switch {
		case code == http.StatusOK:
			return registerOutput{ok: true}, true
		case code == http.StatusPreconditionFailed:
			return registerOutput{}, true
		case (code == http.StatusServiceUnavailable || refused(err)) && attempt == 0:
			return registerOutput{}, false
		case id == "" || ctx.Err() != nil || time.Now().After(deadline):
			return registerOutput{unknown: true}, true
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// refused tells that a request never reached an agent.
func refused(err error) bool {
	return err != nil && strings.Contains(err.Error(), "connection refused")
}

func (h *historian) send(ctx context.Context, method, path, body, id string) (int, []byte, error) {
	node := h.nodes[rand.IntN(len(h.nodes))]
	// A request under way is let finish when the test ends: the client's own timeout bounds it.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, node.URL(path), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if id != "" {
		req.Header.Set(api.HeaderRequestID, id)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, errors.Join(err, ctx.Err())
	}
	return resp.StatusCode, raw, nil
}

func (h *historian) waitProgress(t *testing.T, n int64) {
	t.Helper()
	before := h.done.Load()
	testcluster.Eventually(t, 60*time.Second, func() error {
		if now := h.done.Load(); now < before+n {
			return fmt.Errorf("%d operations came to an end, want %d", now-before, n)
		}
		return nil
	})
}

func (h *historian) verify(t *testing.T) {
	t.Helper()
	t.Logf("%d operations, %d of unknown outcome", len(h.history), h.unknown)
	result, info := porcupine.CheckOperationsVerbose(registerModel(), h.history, time.Minute)
	if result == porcupine.Ok {
		return
	}
	path := filepath.Join(t.ArtifactDir(), "history.html")
	if err := porcupine.VisualizePath(registerModel(), info, path); err != nil {
		t.Logf("no picture: %v", err)
	}
	t.Fatalf("the history is not linearizable (%s); a picture of it: %s", result, path)
}
