package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/config"
)

var update = flag.Bool("update", false, "rewrite the reference page and the golden files")

// golden compares with a file, or rewrites it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // a page of the documentation
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date, write it anew with -update\n--- have\n%s\n--- want\n%s", path, got, want)
	}
}

func TestReferencePage(t *testing.T) {
	golden(t, "../website/content/docs/reference/configuration.md", config.Reference())
}

// runtimeFields are the fields of Config that are not keys: what flags or the loader say of the run.
var runtimeFields = map[string]bool{"Join": true, "Dev": true, "DevDir": true, "Postgres.Enabled": true}

func TestEveryFieldHasAKey(t *testing.T) {
	kept := map[string]bool{}
	for _, k := range config.Keys() {
		kept[fieldName(t, k)] = true
	}
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for f := range fields(typ) {
			name := prefix + f.Name
			switch {
			case f.Type.Kind() == reflect.Struct:
				walk(name+".", f.Type)
			case f.IsExported() && !runtimeFields[name] && !kept[name]:
				t.Errorf("field %s of Config has no row in the table of keys", name)
			}
		}
	}
	walk("", reflect.TypeFor[config.Config]())
}

func fields(typ reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range typ.NumField() {
			if !yield(typ.Field(i)) {
				return
			}
		}
	}
}

// fieldName finds where a key's value lands by setting it and looking which field of a Config moved.
func fieldName(t *testing.T, k config.Key) string {
	t.Helper()
	c := &config.Config{}
	var find func(prefix string, v reflect.Value) string
	find = func(prefix string, v reflect.Value) string {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			if f.Type.Kind() == reflect.Struct {
				if name := find(prefix+f.Name+".", v.Field(i)); name != "" {
					return name
				}
			} else if v.Field(i).Addr().Interface() == k.Pointer(c) {
				return prefix + f.Name
			}
		}
		return ""
	}
	name := find("", reflect.ValueOf(c).Elem())
	if name == "" {
		t.Errorf("key %s points at no field of Config", k.Path)
	}
	return name
}

func TestEveryKeyIsDocumented(t *testing.T) {
	blocks := map[string]bool{"": true}
	for _, b := range config.Blocks() {
		blocks[b.Name] = true
		if len(b.Doc) < 10 {
			t.Errorf("block %s lacks documentation", b.Name)
		}
	}
	seen := map[string]bool{}
	for _, k := range config.Keys() {
		if seen[k.Path] {
			t.Errorf("key %s stands twice in the table", k.Path)
		}
		seen[k.Path] = true
		if len(k.Doc) < 10 || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("key %s: documentation %q is not a sentence", k.Path, k.Doc)
		}
		if k.Example == "" {
			t.Errorf("key %s lacks an example", k.Path)
		}
		if i := strings.LastIndexByte(k.Path, '.'); !blocks[k.Path[:max(i, 0)]] {
			t.Errorf("key %s stands in a block that is not documented", k.Path)
		}
	}
}

// TestExamplesLoad gives every example of the page to the loader: alone, since some exclude each other.
func TestExamplesLoad(t *testing.T) {
	for _, k := range config.Keys() {
		t.Run(k.Path, func(t *testing.T) {
			block, name := "", k.Path
			if i := strings.LastIndexByte(k.Path, '.'); i >= 0 {
				block, name = k.Path[:i], k.Path[i+1:]
			}
			line := name + " = " + k.Example + "\n"
			if k.Path == "postgres.parameters" {
				line = name + " " + k.Example + "\n"
			}
			if block == "postgres" && name != "dsn" {
				line += "dsn = \"host=/tmp\"\n"
			}
			if block != "" {
				line = block + " {\n" + line + "}\n"
			}
			opt := config.LoadOptions{Host: fixedHost(), Flags: parseFlags(t, "-dev", "-advertise=10.0.0.11")}
			_, _, err := config.LoadBytes("example.hcl", []byte(line), opt)
			needsMore := k.Path == "encrypt" || k.Path == "http.tls" || block == "tls" // certificates, a real key
			if err != nil && !needsMore {
				t.Errorf("%s\n%v", line, err)
			}
			if err != nil && strings.Contains(err.Error(), "is needed, this is") {
				t.Errorf("%s\nis of the wrong type: %v", line, err)
			}
		})
	}
}

func TestWholeExamplesLoad(t *testing.T) {
	for name, text := range map[string]string{"example.hcl": config.ExampleHCL, "example.json": config.ExampleJSON} {
		c, warnings, err := config.LoadBytes(name, []byte(text), config.LoadOptions{Host: fixedHost()})
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%s: %v, warnings %v", name, err, warnings)
		}
		if c.RaftAdvertise() != "10.0.0.11:7401" || c.PostgresAdvertise() != "10.0.0.11:5432" {
			t.Errorf("%s: raft %s, postgres %s", name, c.RaftAdvertise(), c.PostgresAdvertise())
		}
	}
}
