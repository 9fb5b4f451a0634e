package pgext_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgraft/pgraft/pgext"
)

func frontendBytes(tb testing.TB, messages ...pgproto3.FrontendMessage) []byte {
	tb.Helper()
	var out []byte
	for _, m := range messages {
		var err error
		if out, err = m.Encode(out); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// FuzzConsole sends raw bytes to the protocol handler, which must neither panic nor outlive its connection.
func FuzzConsole(f *testing.F) {
	hello := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion32, Parameters: map[string]string{"user": "x", "_pq_.y": "1"}}
	for _, messages := range [][]pgproto3.FrontendMessage{
		{hello, &pgproto3.Query{String: "SHOW NODES; KV PUT a E'\\u00e9'; KV GET a"}, &pgproto3.Terminate{}},
		{&pgproto3.SSLRequest{}, &pgproto3.GSSEncRequest{}, hello, &pgproto3.Query{String: "SELECT 1;;"}},
		{hello, &pgproto3.Parse{Query: "SELECT $1"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}, &pgproto3.Query{}},
		{hello, &pgproto3.FunctionCall{}, &pgproto3.CopyData{Data: []byte("x")}, &pgproto3.Flush{}, &pgproto3.PasswordMessage{Password: "p"}},
		{&pgproto3.CancelRequest{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}}},
	} {
		f.Add(frontendBytes(f, messages...))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0, 0, 0, 8, 0, 3, 0, 0})
	console := pgext.NewConsole(pgext.ConsoleConfig{Backend: newFakeBackend()})
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			pgext.ServeConsole(context.Background(), console, theirs)
		}()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		_ = ours.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = ours.Write(data)
		_ = ours.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection's goroutine goes on")
		}
	})
}

func FuzzLexer(f *testing.F) {
	for _, s := range []string{
		"KV PUT 'a''b' E'c\\\\d\\x41\\101\\u00e9\\U0001F600'", "/* /* */ */ SHOW NODES; -- x\nSELECT 1", "\"a\"\"b\"", "E'\\", "'", "/*/", "E'\\u12'", "a;b;;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		statements, err := pgext.SplitStatements(query)
		if err != nil {
			return
		}
		for _, statement := range statements {
			if len(statement) == 0 {
				t.Error("empty statement")
			}
			// What is quoted as PostgreSQL quotes it must come back as it was.
			for _, text := range statement {
				again, err := pgext.SplitStatements("X " + pgext.Literal(text))
				if err != nil || len(again) != 1 || len(again[0]) != 2 || again[0][1] != text {
					t.Errorf("%q quoted reads as %q, %v", text, again, err)
				}
			}
		}
	})
}
