package command_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/api"
)

func TestKVPut(t *testing.T) {
	var value, query string
	agent(t, map[string]any{"PUT /v1/kv/{key...}": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		value, query = r.PathValue("key")+"="+string(body), r.URL.RawQuery
		reply(t, w, api.WriteResult{Index: 9, Version: 2})
	}})
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, stdin string
		args        []string
		want, query string
	}{
		{"argument", "", []string{"a/b", "v"}, "a/b=v", ""},
		{"file", "", []string{"a", "@" + file}, "a=from a file\n", ""},
		{"standard input", "piped\x00", []string{"a", "-"}, "a=piped\x00", ""},
		{"negative number", "", []string{"a", "-5"}, "a=-5", ""},
		{"behind two dashes", "", []string{"a", "--", "-x"}, "a=-x", ""},
		{"only if new", "", []string{"-cas=0", "a", "v"}, "a=v", "cas=0"},
		{"flags behind the arguments", "", []string{"a", "v", "-flags=7"}, "a=v", "flags=7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, tt.stdin, append([]string{"kv", "put"}, tt.args...)...)
			if r.code != 0 || value != tt.want || query != tt.query {
				t.Errorf("code %d, stderr %q, sent %q?%s, want %q?%s", r.code, r.stderr, value, query, tt.want, tt.query)
			}
			if !strings.Contains(r.stdout, "version 2, index 9") {
				t.Errorf("stdout %q", r.stdout)
			}
		})
	}
	if r := run(t, "", "kv", "put", "a", "@/nonexistent"); r.code != 1 || !strings.Contains(r.stderr, "starts with @") {
		t.Errorf("missing file: %+v", r)
	}
	if r := run(t, strings.Repeat("x", 1<<20+1), "kv", "put", "a", "-"); r.code != 1 || !strings.Contains(r.stderr, "larger than a value may be") {
		t.Errorf("too large: %d %s", r.code, r.stderr)
	}
}

func TestKVGetIsByteExact(t *testing.T) {
	pair := api.KVPair{Key: "a", Value: []byte("no newline\x00\xff"), Version: 3, ModifyIndex: 12}
	agent(t, map[string]any{
		"GET /v1/kv/a":    []api.KVPair{pair},
		"GET /v1/kv/none": &api.Error{StatusCode: 404, Code: api.CodeNotFound, Message: "not found"},
	})
	if r := run(t, "", "kv", "get", "a"); r.code != 0 || r.stdout != string(pair.Value) {
		t.Errorf("%+v", r)
	}
	if r := run(t, "", "kv", "get", "-detailed", "a"); !strings.Contains(r.stdout, "modify_index  12") || strings.Contains(r.stdout, "\x00") {
		t.Errorf("detailed: %+v", r)
	}
	if r := run(t, "", "kv", "get", "none"); r.code != 1 || !strings.Contains(r.stderr, `no key "none"`) {
		t.Errorf("missing key: %+v", r)
	}
}

func TestKVDelete(t *testing.T) {
	var query string
	agent(t, map[string]any{"DELETE /v1/kv/{key...}": func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		reply(t, w, api.WriteResult{Index: 9, Deleted: 2})
	}})
	if r := run(t, "", "kv", "delete", "-recurse", "a/"); r.code != 0 || query != "recurse=" || !strings.Contains(r.stdout, "2 keys") {
		t.Errorf("%+v, query %q", r, query)
	}
	if r := run(t, "", "kv", "delete", "-recurse", "-cas=1", "a"); r.code != 2 {
		t.Errorf("-recurse with -cas: %+v", r)
	}
}

func TestKVExportImport(t *testing.T) {
	var pairs []api.KVPair
	for i := range 300 {
		pairs = append(pairs, api.KVPair{Key: fmt.Sprintf("k%03d", i), Value: []byte{byte(i), 0, 0xff}, Flags: uint64(i)})
	}
	pairs = append(pairs, api.KVPair{Key: "large", Value: make([]byte, 500<<10)})
	stored := map[string]string{}
	var sizes []int
	agent(t, map[string]any{
		"GET /v1/kv/": pairs,
		"GET /v1/kv":  api.KVStats{Index: 5},
		"PUT /v1/txn": func(w http.ResponseWriter, r *http.Request) {
			var txn api.TxnRequest
			if err := json.NewDecoder(r.Body).Decode(&txn); err != nil {
				t.Errorf("decode: %v", err)
			}
			for _, op := range txn.Success {
				stored[op.Key] = string(op.Value)
			}
			sizes = append(sizes, len(txn.Success))
			reply(t, w, api.TxnResponse{Succeeded: true, Index: 6})
		},
		"PUT /v1/kv/{key...}": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			stored[r.PathValue("key")] = string(body)
			reply(t, w, api.WriteResult{Index: 7})
		},
	})
	out := run(t, "", "kv", "export")
	if out.code != 0 {
		t.Fatalf("export: %+v", out)
	}
	r := run(t, out.stdout, "kv", "import", "-prefix=copy/", "-")
	if r.code != 0 || !strings.Contains(r.stdout, "301 keys") {
		t.Fatalf("import: %+v", r)
	}
	for _, p := range pairs {
		if stored["copy/"+p.Key] != string(p.Value) {
			t.Fatalf("%s was stored wrongly", p.Key)
		}
	}
	if want := []int{128, 128, 44}; !slices.Equal(sizes, want) {
		t.Errorf("transactions of %v, want %v", sizes, want)
	}
}

func TestKVImportRefusesBadFiles(t *testing.T) {
	value := base64.StdEncoding.EncodeToString([]byte("v"))
	for name, text := range map[string]string{
		"no JSON": "hello", "an object": "{}", "no base64": `[{"key":"a","value":"!"}]`,
		"no key": `[{"key":"","value":"` + value + `"}]`, "a wrong name": `[{"key":"a","valeu":"` + value + `"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, text, "kv", "import", "-http-addr=127.0.0.1:1", "-")
			if r.code != 1 || !strings.Contains(strings.ToLower(r.stderr), "nothing was written") {
				t.Errorf("%+v", r)
			}
		})
	}
}
