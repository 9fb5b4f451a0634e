package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/fsm"
)

func TestPutGetDelete(t *testing.T) {
	s := newServer(t)
	var written api.WriteResult
	s.must("PUT", "/v1/kv/app/config?flags=7", "value").json(t, &written)
	if written.Index == 0 || written.Version != 1 || written.RequestID == "" {
		t.Fatalf("write result %+v", written)
	}
	a := s.must("GET", "/v1/kv/app/config", "")
	var pairs []api.KVPair
	a.json(t, &pairs)
	if len(pairs) != 1 || string(pairs[0].Value) != "value" || pairs[0].Flags != 7 || pairs[0].ModifyIndex != written.Index {
		t.Fatalf("pairs %+v", pairs)
	}
	if got := a.header.Get(api.HeaderIndex); got != fmt.Sprint(written.Index) {
		t.Fatalf("index header %q, want %d", got, written.Index)
	}
	if a.header.Get(api.HeaderKnownLeader) != "true" || a.header.Get(api.HeaderLastContact) != "0" {
		t.Fatalf("headers %v", a.header)
	}
	if raw := s.must("GET", "/v1/kv/app/config?raw", ""); raw.body != "value" {
		t.Fatalf("raw %q", raw.body)
	}
	var deleted api.WriteResult
	s.must("DELETE", "/v1/kv/app/config", "").json(t, &deleted)
	if deleted.Deleted != 1 {
		t.Fatalf("delete result %+v", deleted)
	}
	gone := s.call("GET", "/v1/kv/app/config", "")
	if gone.status != http.StatusNotFound || gone.header.Get(api.HeaderIndex) != fmt.Sprint(deleted.Index) {
		t.Fatalf("after delete: %d, index %s, want 404 with %d", gone.status, gone.header.Get(api.HeaderIndex), deleted.Index)
	}
}

// Keys go through as they are typed: the multiplexer would tidy most of these into others.
func TestKeysAreNotTidied(t *testing.T) {
	s := newServer(t)
	for path, key := range map[string]string{
		"a//b": "a//b", "/lead": "/lead", "a/../b": "a/../b", "a/%2E%2E/c": "a/../c", "tail/": "tail/",
		"%2Fx%3Fy": "/x?y", "ä%20b": "ä b", "50%25": "50%", "a+b": "a+b", ".": ".", "a;b": "a;b",
	} {
		s.must("PUT", "/v1/kv/"+path, key)
		if got := s.must("GET", "/v1/kv/"+path+"?raw", ""); got.body != key {
			t.Errorf("%s: value %q, want %q", path, got.body, key)
		}
		if _, pair := s.fsm.Store().KVGet(nil, key); pair == nil {
			t.Errorf("%s: no key %q in the store", path, key)
		}
	}
}

func TestListing(t *testing.T) {
	s := newServer(t)
	for _, key := range []string{"a/1", "a/2", "a/b/3", "c"} {
		s.must("PUT", "/v1/kv/"+key, key)
	}
	for path, want := range map[string]string{
		"/v1/kv/a/?keys":                 `["a/1","a/2","a/b/3"]`,
		"/v1/kv/a/?keys&separator=/":     `["a/1","a/2","a/b/"]`,
		"/v1/kv/?keys":                   `["a/1","a/2","a/b/3","c"]`,
		"/v1/kv/none?keys":               `[]`,
		"/v1/kv/none?recurse":            `[]`,
		"/v1/kv/a?keys&stale":            `["a/1","a/2","a/b/3"]`,
		"/v1/kv/c?recurse=false&raw=1":   `c`,
		"/v1/kv/c?keys=0&raw&consistent": ``, // contradiction, below
	} {
		if want == "" {
			s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "GET", path, "")
			continue
		}
		if strings.HasPrefix(path, "/v1/kv/c?recurse") {
			s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "GET", path, "")
			continue
		}
		if got := strings.TrimSpace(s.must("GET", path, "").body); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	var pairs []api.KVPair
	s.must("GET", "/v1/kv/a/?recurse", "").json(t, &pairs)
	if len(pairs) != 3 || pairs[2].Key != "a/b/3" {
		t.Fatalf("pairs %+v", pairs)
	}
	var stats api.KVStats
	s.must("GET", "/v1/kv/", "").json(t, &stats)
	if stats.Keys != 4 || stats.Bytes != 2*(3+3+5+1) {
		t.Fatalf("stats %+v", stats)
	}
	var deleted api.WriteResult
	s.must("DELETE", "/v1/kv/a/?recurse", "").json(t, &deleted)
	if deleted.Deleted != 3 {
		t.Fatalf("deleted %+v", deleted)
	}
}

func TestCompareAndSet(t *testing.T) {
	s := newServer(t)
	s.must("PUT", "/v1/kv/k?cas=0", "1")
	s.mustFail(http.StatusPreconditionFailed, api.CodePrecondition, "PUT", "/v1/kv/k?cas=0", "2")
	var first api.WriteResult
	s.must("PUT", "/v1/kv/k", "2").json(t, &first)
	s.must("PUT", fmt.Sprintf("/v1/kv/k?cas=%d", first.Index), "3")
	s.mustFail(http.StatusPreconditionFailed, api.CodePrecondition, "DELETE", fmt.Sprintf("/v1/kv/k?cas=%d", first.Index), "")
	if got := s.must("GET", "/v1/kv/k?raw", ""); got.body != "3" {
		t.Fatalf("value %q", got.body)
	}
}

func TestLocks(t *testing.T) {
	s := newServer(t)
	session := func() string {
		var out api.Session
		s.must("PUT", "/v1/session/create", `{"ttl":"15s","name":"test"}`).json(t, &out)
		return out.ID
	}
	a, b := session(), session()
	s.must("PUT", "/v1/kv/lock?acquire="+a, "a")
	s.must("PUT", "/v1/kv/lock?acquire="+a, "a again")
	s.mustFail(http.StatusConflict, api.CodeConflict, "PUT", "/v1/kv/lock?acquire="+b, "b")
	s.mustFail(http.StatusConflict, api.CodeConflict, "PUT", "/v1/kv/lock?release="+b, "b")
	s.mustFail(http.StatusNotFound, api.CodeNotFound, "PUT", "/v1/kv/lock?acquire=nobody", "")
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/kv/lock?acquire=", "")
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/kv/lock?acquire="+a+"&release="+a, "")
	s.must("PUT", "/v1/kv/lock?release="+a, "free")
	s.must("PUT", "/v1/kv/lock?acquire="+b, "b")
	s.must("PUT", "/v1/session/destroy/"+b, "")
	var pairs []api.KVPair
	s.must("GET", "/v1/kv/lock", "").json(t, &pairs)
	if pairs[0].Session != "" || pairs[0].LockIndex != 2 {
		t.Fatalf("pair %+v", pairs[0])
	}
}

func TestValueSizes(t *testing.T) {
	s := newServer(t)
	if api.MaxValueSize != fsm.MaxValueSize {
		t.Fatalf("the client allows %d bytes, the cluster %d", api.MaxValueSize, fsm.MaxValueSize)
	}
	largest := strings.Repeat("x", fsm.MaxValueSize)
	s.must("PUT", "/v1/kv/big", largest)
	if got := s.must("GET", "/v1/kv/big?raw", ""); got.body != largest {
		t.Fatalf("%d bytes came back", len(got.body))
	}
	s.mustFail(http.StatusRequestEntityTooLarge, api.CodeTooLarge, "PUT", "/v1/kv/big", largest+"x")
	s.must("PUT", "/v1/kv/empty", "")
	if got := s.must("GET", "/v1/kv/empty", ""); !strings.Contains(got.body, `"value":""`) {
		t.Fatalf("empty value: %s", got.body)
	}
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/kv/", "no key")
	s.mustFail(http.StatusRequestEntityTooLarge, api.CodeTooLarge, "PUT", "/v1/kv/"+strings.Repeat("k", fsm.MaxKeySize+1), "")
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/kv/a%00b", "")
	s.mustFail(http.StatusBadRequest, api.CodeBadRequest, "PUT", "/v1/kv/%ff", "")
}

func TestChunkedBodyOverTheLimit(t *testing.T) {
	s := newServer(t)
	for size, want := range map[int]int{fsm.MaxValueSize: http.StatusOK, fsm.MaxValueSize + 1: http.StatusRequestEntityTooLarge} {
		body := struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", size))}
		req, err := http.NewRequest("PUT", s.url+"/v1/kv/chunked", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = -1
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("%d bytes: %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestTransaction(t *testing.T) {
	s := newServer(t)
	body := `{"compares":[{"key":"a","target":"exists","exists":false}],
		"success":[{"op":"set","key":"a","value":"MQ=="},{"op":"get","key":"a"}],
		"failure":[{"op":"get","key":"a"}]}`
	for _, want := range []bool{true, false} {
		var out api.TxnResponse
		s.must("PUT", "/v1/txn", body).json(t, &out)
		if out.Succeeded != want || out.Index == 0 || len(out.Results) == 0 {
			t.Fatalf("succeeded %v, want %v: %+v", out.Succeeded, want, out)
		}
	}
}

func TestBlockingRead(t *testing.T) {
	s := newServer(t)
	var first api.WriteResult
	s.must("PUT", "/v1/kv/k", "1").json(t, &first)
	path := fmt.Sprintf("/v1/kv/k?raw&index=%d&wait=10s", first.Index)
	got := make(chan answer, 1)
	go func() { got <- s.call("GET", path, "") }()
	select {
	case a := <-got:
		t.Fatalf("answered before the change: %s", a.body)
	case <-time.After(50 * time.Millisecond):
	}
	s.must("PUT", "/v1/kv/other", "x")
	s.must("PUT", "/v1/kv/k", "2")
	if a := <-got; a.body != "2" {
		t.Fatalf("answer %d %q", a.status, a.body)
	}
	// Nothing changes: the wait ends with what there is.
	a := s.must("GET", "/v1/kv/k?raw&stale&index=1000&wait=20ms", "")
	if a.body != "2" {
		t.Fatalf("after the wait: %q", a.body)
	}
	// An absent key can be waited for.
	go func() { got <- s.call("GET", "/v1/kv/new?raw&index=1&wait=10s", "") }()
	s.must("PUT", "/v1/kv/new", "here")
	if a := <-got; a.body != "here" {
		t.Fatalf("answer %d %q", a.status, a.body)
	}
}

func TestBlockedReadOfALostLeaderIsNoLeadersAnswer(t *testing.T) {
	s := newServer(t)
	s.must("PUT", "/v1/kv/k", "1")
	got := make(chan answer, 1)
	go func() { got <- s.call("GET", "/v1/kv/k?index=1000&wait=100ms", "") }()
	time.Sleep(20 * time.Millisecond)
	s.set(func(b *backend) { b.follower = true })
	if a := <-got; a.status != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

func TestCloseEndsBlockedReads(t *testing.T) {
	s := newServer(t)
	got := make(chan answer, 1)
	go func() { got <- s.call("GET", "/v1/kv/k?index=1000&wait=60s", "") }()
	time.Sleep(20 * time.Millisecond)
	s.api.Close()
	select {
	case a := <-got:
		if a.status != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", a.status, a.body)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still blocked 5 s after Close")
	}
}
