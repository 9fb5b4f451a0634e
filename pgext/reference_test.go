package pgext_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

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

// entry is what the page of SQL, or the catalog, says of one function, table or view.
type entry struct {
	signature string // of functions
	rights    string
	columns   []string // "name type"
}

// TestSQLPage compares the page with a real server's catalog, both ways.
func TestSQLPage(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(referenceDir, "sql.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := readEntries(t, string(content))
	conn := newInstalled(t, openDir(t))
	catalog := functionEntries(t, conn)
	maps.Copy(catalog, tableEntries(t, conn))
	for name, want := range catalog {
		have, ok := page[name]
		if !ok {
			t.Errorf("%s is not on the page: %+v", name, want)
			continue
		}
		if have.signature != want.signature || have.rights != want.rights || !slices.Equal(have.columns, want.columns) {
			t.Errorf("%s: the page says\n %+v\nthe catalog\n %+v", name, have, want)
		}
	}
	for name := range page {
		if _, ok := catalog[name]; !ok {
			t.Errorf("%s is on the page and not in the catalog", name)
		}
	}
	console := connectConsole(t, openConsole(t, newFakeBackend()))
	for _, statement := range catalogRows(t, console, "SHOW HELP") {
		row := "| `" + strings.ReplaceAll(statement[0], "|", `\|`) + "` | " + statement[1] + " |"
		if !strings.Contains(string(content), row) {
			t.Errorf("the console's list lacks %s", row)
		}
	}
}

// readEntries reads the sections of the page: a heading, a line of code with the signature, who may, a table of columns.
func readEntries(t *testing.T, page string) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	for section := range strings.SplitSeq(page, "\n### ") {
		name, body, _ := strings.Cut(section, "\n")
		if !strings.HasPrefix(name, "pgraft") {
			continue
		}
		body, _, _ = strings.Cut(body, "\n## ")
		var e entry
		inColumns := false
		for line := range strings.Lines(body) {
			line = strings.TrimSuffix(line, "\n")
			cells := strings.Split(line, "|")
			switch rights, isRights := strings.CutPrefix(line, "*Who may:* "); {
			case strings.HasPrefix(line, "    "):
				e.signature = strings.TrimSpace(line)
			case isRights:
				e.rights, _, _ = strings.Cut(rights, ".")
			case line == "| column | type | meaning |":
				inColumns = true
			case inColumns && len(cells) == 5 && strings.Contains(cells[1], "`"):
				if strings.TrimSpace(cells[3]) == "" {
					t.Errorf("%s: column %s lacks its meaning", name, cells[1])
				}
				e.columns = append(e.columns, strings.Trim(cells[1], " `")+" "+strings.TrimSpace(cells[2]))
			}
		}
		entries[name] = e
	}
	return entries
}

// functionsSQL lists the functions that somebody but their owner may call.
const functionsSQL = `
SELECT CASE WHEN n.nspname = 'pgraft' THEN 'pgraft.' ELSE '' END || p.proname,
       coalesce((SELECT string_agg(a.name || ' ' || format_type(a.type, NULL)
                        || coalesce(' DEFAULT ' || regexp_replace(pg_get_function_arg_default(p.oid, a.n::integer), '::.*', ''), ''), ', ' ORDER BY a.n)
                   FROM unnest(p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes::text[]) WITH ORDINALITY AS a(name, type, mode, n)
                  WHERE coalesce(a.mode, 'i') = 'i'), ''),
       CASE WHEN p.proargmodes IS NOT NULL AND p.proretset THEN 'rows' WHEN p.proargmodes IS NOT NULL THEN 'one row'
            ELSE lower(left(pg_get_function_result(p.oid), 5)) || substr(pg_get_function_result(p.oid), 6) END,
       coalesce((SELECT string_agg(a.name || ' ' || format_type(a.type, NULL), ',' ORDER BY a.n)
                   FROM unnest(p.proargnames, p.proallargtypes, p.proargmodes::text[]) WITH ORDINALITY AS a(name, type, mode, n)
                  WHERE a.mode IN ('o', 't')), ''),
       (SELECT string_agg(r, ', ' ORDER BY r) FROM unnest(ARRAY['pg_monitor', 'pgraft_admin', 'public']) AS r
         WHERE has_function_privilege(r, p.oid, 'EXECUTE')),
       coalesce(obj_description(p.oid, 'pg_proc'), '')
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname IN ('public', 'pgraft') AND p.prosrc IS NOT NULL AND (n.nspname = 'pgraft' OR p.proname LIKE 'pgraft%')`

func functionEntries(t *testing.T, conn *pgx.Conn) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	for _, row := range catalogRows(t, conn, functionsSQL) {
		if row[5] == "" {
			t.Errorf("function %s lacks a comment", row[0])
		}
		if row[4] == "" {
			continue // the functions' own
		}
		e := entry{signature: row[0] + "(" + row[1] + ") → " + row[2], rights: row[4]}
		if row[3] != "" {
			e.columns = strings.Split(row[3], ",")
		}
		entries[row[0]] = e
	}
	return entries
}

const tablesSQL = `
SELECT 'pgraft.' || c.relname,
       (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
          FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT string_agg(r, ', ' ORDER BY r) FROM unnest(ARRAY['pg_monitor', 'pgraft_admin', 'public']) AS r
         WHERE has_table_privilege(r, c.oid, 'SELECT')),
       coalesce(obj_description(c.oid, 'pg_class'), '')
  FROM pg_class AS c WHERE c.relnamespace = 'pgraft'::regnamespace AND c.relkind IN ('r', 'v')`

func tableEntries(t *testing.T, conn *pgx.Conn) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	for _, row := range catalogRows(t, conn, tablesSQL) {
		if row[3] == "" {
			t.Errorf("%s lacks a comment", row[0])
		}
		entries[row[0]] = entry{columns: strings.Split(row[1], ","), rights: row[2]}
	}
	return entries
}

// catalogRows returns a query's rows as text, null as the empty one.
func catalogRows(t *testing.T, conn *pgx.Conn, sql string) [][]string {
	t.Helper()
	results, err := conn.PgConn().Exec(testContext(t), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for _, row := range results[0].Rows {
		cells := make([]string, len(row))
		for i, value := range row {
			cells[i] = string(value)
		}
		rows = append(rows, cells)
	}
	if len(rows) < 5 {
		t.Fatalf("the catalog has only %v", rows)
	}
	return rows
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
