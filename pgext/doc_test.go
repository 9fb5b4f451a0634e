package pgext_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/pgext"
)

// TestDesignListsEveryCode compares the table of SQLSTATEs with the API's codes and what the console makes of them.
func TestDesignListsEveryCode(t *testing.T) {
	design, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(design)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		for _, code := range strings.Split(cells[2], ",") {
			rows[strings.TrimSpace(code)] = strings.TrimSpace(cells[1])
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../api/types.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if got := pgext.SQLState(code); rows[code] != got {
			t.Errorf("code %s is SQLSTATE %s, DESIGN.md says %q", code, got, rows[code])
		}
		return true
	})
	if found < 10 {
		t.Errorf("only %d codes found", found)
	}
}
