package pgext_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/pgext"
)

const referenceDir = "../website/content/docs/reference"

// TestErrorsPage holds the page of errors to the SQLSTATEs of the console and of the functions.
func TestErrorsPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(referenceDir, "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 7 {
			states[strings.Trim(cells[1], " `")] = strings.TrimSpace(cells[3])
		}
	}
	for _, code := range apiCodes(t) {
		want := pgext.SQLState(code)
		if code == "method_not_allowed" {
			want = "–" // of HTTP only
		}
		if states[code] != want {
			t.Errorf("code %s is SQLSTATE %s, the page says %q", code, want, states[code])
		}
	}
	for _, state := range sourceStates(t) {
		if !strings.Contains(string(page), state) {
			t.Errorf("SQLSTATE %s is not on the page", state)
		}
	}
}

// apiCodes reads the values of package api's constants Code….
func apiCodes(t *testing.T) []string {
	t.Helper()
	codes := constants(t, "Code", "../api/types.go", "../api/types_http.go")
	if len(codes) < 15 {
		t.Fatalf("only %d codes found", len(codes))
	}
	return codes
}

// sourceStates reads the SQLSTATEs that this package's Go code raises.
func sourceStates(t *testing.T) []string {
	t.Helper()
	states := constants(t, "state", "sqlerror.go")
	if len(states) < 15 {
		t.Fatalf("only %d SQLSTATEs found", len(states))
	}
	return states
}

func constants(t *testing.T, prefix string, files ...string) []string {
	t.Helper()
	var values []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
				return true
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
			return true
		})
	}
	return values
}
