package pgext

import (
	"context"
	"net"
)

// ServeConsole runs the protocol handler on any connection.
func ServeConsole(ctx context.Context, c *Console, conn net.Conn) { c.serve(ctx, conn, nil) }

// Literal quotes as PostgreSQL's format('%L') does.
func Literal(s string) string { return literal(s) }

// SplitStatements returns the texts of the tokens of each statement.
func SplitStatements(query string) ([][]string, error) {
	statements, err := splitStatements(query)
	var out [][]string
	for _, statement := range statements {
		var texts []string
		for _, t := range statement {
			texts = append(texts, t.text)
		}
		out = append(out, texts)
	}
	return out, err
}

// SQLState returns the SQLSTATE of an API code.
func SQLState(code string) string { return sqlState(code) }
