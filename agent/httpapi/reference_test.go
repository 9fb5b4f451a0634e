package httpapi_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/agent/httpapi"
	"github.com/pgraft/pgraft/api"
)

var update = flag.Bool("update", false, "write the reference page")

const docsDir = "../../website/content/docs"

// TestReferencePage holds the page to the routes, and to what package api says of its types.
func TestReferencePage(t *testing.T) {
	docs := sourceDocs(t)
	page := httpapi.ReferencePage(func(typeName, field string) string {
		text := docs[typeName+"."+field]
		if field == "" && text == "" {
			t.Errorf("type %s lacks a comment", typeName)
		}
		return text
	})
	path := filepath.Join(docsDir, "reference", "http-api.md")
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if string(have) != page {
		t.Errorf("%s is not what the routes say: run make docs", path)
	}
	for _, rt := range httpapi.Reference() {
		if strings.Count(page, "\n### "+rt.Method+" "+rt.Path+"\n") != 1 {
			t.Errorf("%s %s does not stand on the page once", rt.Method, rt.Path)
		}
	}
	for _, check := range httpapi.Readiness(api.Status{}) {
		if !strings.Contains(page, "| `"+check.Check+"` |") {
			t.Errorf("check %s is not on the page", check.Check)
		}
	}
}

// sourceDocs reads the comments of package api's types: "Type." and "Type.json_name".
func sourceDocs(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, name := range []string{"types.go", "types_http.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../../api", name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				typ := spec.(*ast.TypeSpec)
				docs[typ.Name.Name+"."] = sentence(typ.Name.Name, gen.Doc.Text())
				if s, ok := typ.Type.(*ast.StructType); ok {
					fieldDocs(docs, typ.Name.Name, s)
				}
			}
		}
	}
	return docs
}

func fieldDocs(docs map[string]string, typeName string, s *ast.StructType) {
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
		text := f.Comment.Text()
		if f.Doc != nil {
			text = sentence(f.Names[0].Name, f.Doc.Text())
		}
		docs[typeName+"."+name] = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
	}
}

// sentence takes away the name that Go's comments begin with.
func sentence(name, comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	rest, ok := strings.CutPrefix(text, name+" is ")
	if !ok {
		rest, ok = strings.CutPrefix(text, name+" ")
	}
	if !ok {
		return text
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

// TestErrorsPage holds the page of errors to the statuses that the server answers with, code by code.
func TestErrorsPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(docsDir, "reference", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 7 {
			rows[strings.Trim(cells[1], " `")] = strings.TrimSpace(cells[2])
		}
	}
	for _, code := range errorCodes(t) {
		s := newServer(t)
		s.set(func(b *backend) { b.proposes = []error{&api.Error{Code: code, Message: "m"}} })
		// A new write takes retry_expired for its node's fault and tries again, so this one is a repeat.
		got := s.call("PUT", "/v1/kv/k", "v", api.HeaderRequestID, "mine").status
		if rows[code] != strconv.Itoa(got) {
			t.Errorf("code %s is HTTP status %d, the page says %q", code, got, rows[code])
		}
		delete(rows, code)
	}
	delete(rows, "code")
	delete(rows, "---")
	if len(rows) > 0 {
		t.Errorf("the page has codes that the API doesn't: %v", rows)
	}
}

// errorCodes reads the values of package api's constants Code….
func errorCodes(t *testing.T) []string {
	t.Helper()
	var codes []string
	for _, name := range []string{"types.go", "types_http.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../../api", name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if ok && strings.HasPrefix(spec.Names[0].Name, "Code") {
				code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, code)
			}
			return true
		})
	}
	if len(codes) < 15 {
		t.Fatalf("only %d codes found", len(codes))
	}
	return codes
}
