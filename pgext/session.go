package pgext

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// session is one connection to the console.
type session struct {
	console *Console
	conn    net.Conn
	proto   *pgproto3.Backend
	id      uint32
	secret  []byte

	mu     sync.Mutex
	cancel context.CancelFunc // of the statement under way, nil between statements
}

// input is one message of the client's, without what belongs to the reader's buffer.
type input struct {
	kind  inputKind
	query string
	err   error
}

type inputKind int

const (
	inputQuery inputKind = iota
	inputExtended
	inputSync
	inputFunctionCall
	inputIgnored
	inputEnd // the client said goodbye, went away or can't be understood any more
)

// serve answers one connection until it ends. A refusal is told in the protocol's own way.
func (c *Console) serve(ctx context.Context, conn net.Conn, refusal *sqlError) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{console: c, conn: conn, proto: pgproto3.NewBackend(conn, conn)}
	s.proto.SetMaxBodyLen(maxMessage)
	// A peer that doesn't read or write must not keep Close waiting.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }()

	_ = conn.SetDeadline(time.Now().Add(startupTimeout))
	if refusal != nil {
		s.fatal(refusal)
		return
	}
	if !s.startup() {
		return
	}
	defer c.unregister(s)
	_ = conn.SetDeadline(time.Time{})

	inputs := make(chan input)
	var reader sync.WaitGroup
	reader.Go(func() { s.runReader(ctx, cancel, inputs) })
	s.loop(ctx, inputs)
	cancel()
	_ = conn.Close()
	reader.Wait()
}

// startup gets the session from the first bytes to its first ReadyForQuery.
func (s *session) startup() bool {
	for range 4 { // an SSL request and a GSS request may come before the message itself
		msg, err := s.proto.ReceiveStartupMessage()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
				s.fatal(&sqlError{code: stateProtocol, message: "invalid startup message", detail: shorten(err.Error())})
			}
			return false
		}
		switch msg := msg.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			if _, err := s.conn.Write([]byte{'N'}); err != nil {
				return false
			}
		case *pgproto3.CancelRequest:
			s.console.cancelStatement(msg.ProcessID, msg.SecretKey)
			return false
		case *pgproto3.StartupMessage:
			return s.welcome(msg)
		}
	}
	s.fatal(&sqlError{code: stateProtocol, message: "too many requests before the startup message"})
	return false
}

func (s *session) welcome(msg *pgproto3.StartupMessage) bool {
	if refusal := s.console.register(s); refusal != nil {
		s.fatal(refusal)
		return false
	}
	var unknown []string
	for name := range msg.Parameters {
		if strings.HasPrefix(name, "_pq_.") {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		s.proto.Send(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: msg.ProtocolVersion, UnrecognizedOptions: unknown})
	}
	s.proto.Send(&pgproto3.AuthenticationOk{})
	for _, p := range [][2]string{
		// psql and drivers choose their ways by it; what follows the number is for people.
		{"server_version", "14.0 (pgraft console)"},
		{"server_encoding", "UTF8"}, {"client_encoding", "UTF8"}, {"standard_conforming_strings", "on"},
		{"integer_datetimes", "on"}, {"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
		{"is_superuser", "off"}, {"session_authorization", "pgraft"},
	} {
		s.proto.Send(&pgproto3.ParameterStatus{Name: p[0], Value: p[1]})
	}
	s.proto.Send(&pgproto3.BackendKeyData{ProcessID: s.id, SecretKey: s.secret})
	if s.ready() != nil {
		s.console.unregister(s)
		return false
	}
	return true
}

// runReader hands the client's messages on, and ends the session's context when there will be no more: a statement
// whose client went away is not worth going on with.
func (s *session) runReader(ctx context.Context, cancel context.CancelFunc, inputs chan<- input) {
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(idleTimeout))
		in := s.receive()
		if in.kind == inputEnd && gone(in.err) {
			cancel()
			return
		}
		select {
		case inputs <- in:
		case <-ctx.Done():
			return
		}
		if in.kind == inputEnd {
			return
		}
	}
}

func (s *session) receive() input {
	msg, err := s.proto.Receive()
	if err != nil {
		return input{kind: inputEnd, err: err}
	}
	switch msg := msg.(type) {
	case *pgproto3.Query:
		return input{kind: inputQuery, query: msg.String}
	case *pgproto3.Sync:
		return input{kind: inputSync}
	case *pgproto3.Terminate:
		return input{kind: inputEnd, err: io.EOF}
	case *pgproto3.FunctionCall:
		return input{kind: inputFunctionCall}
	case *pgproto3.CopyData, *pgproto3.CopyDone, *pgproto3.CopyFail, *pgproto3.Flush:
		return input{kind: inputIgnored} // as PostgreSQL does outside COPY
	case *pgproto3.Parse, *pgproto3.Bind, *pgproto3.Describe, *pgproto3.Execute, *pgproto3.Close:
		return input{kind: inputExtended}
	}
	return input{kind: inputEnd, err: errors.New("unexpected message")}
}

// gone reports an end that leaves nobody to tell about it.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrDeadlineExceeded)
}

// loop answers messages one by one. After a message of the extended protocol everything up to the next Sync is passed
// over, as the protocol has it after an error.
func (s *session) loop(ctx context.Context, inputs <-chan input) {
	skipping := false
	for {
		var in input
		select {
		case <-ctx.Done():
			return
		case in = <-inputs:
		}
		var err error
		switch {
		case in.kind == inputEnd:
			s.fatalInput(in.err)
			return
		case in.kind == inputSync:
			skipping = false
			err = s.ready()
		case skipping || in.kind == inputIgnored:
		case in.kind == inputExtended:
			skipping = true
			s.sendError("ERROR", noExtended())
			err = s.flush()
		case in.kind == inputFunctionCall:
			s.sendError("ERROR", noExtended())
			err = s.ready()
		default:
			err = s.query(ctx, in.query)
		}
		if err != nil {
			return
		}
	}
}

func noExtended() *sqlError {
	return &sqlError{
		code: stateNotSupported, message: "the console has the simple query protocol only",
		hint: "use psql, or let the driver send simple queries (pgx: default_query_exec_mode=simple_protocol)",
	}
}

func (s *session) fatalInput(err error) {
	var long *pgproto3.ExceededMaxBodyLenErr
	if errors.As(err, &long) {
		s.fatal(&sqlError{code: stateTooLarge, message: "statement is too long", hint: "a value may have 512 KiB"})
		s.drain(long.ActualBodyLen)
		return
	}
	s.fatal(&sqlError{code: stateProtocol, message: "invalid message", detail: shorten(err.Error())})
}

// drain takes the rest of a message, within bounds, as a client that is still writing it may not read why it failed.
func (s *session) drain(n int) {
	_ = s.conn.SetReadDeadline(time.Now().Add(startupTimeout))
	_, _ = io.CopyN(io.Discard, s.conn, int64(min(n, maxDrain)))
}

// query runs the statements of one Query message, up to the first that fails.
func (s *session) query(ctx context.Context, text string) error {
	statements, err := splitStatements(text)
	if err != nil {
		s.sendError("ERROR", toSQL(err))
		return s.ready()
	}
	if len(statements) == 0 {
		s.proto.Send(&pgproto3.EmptyQueryResponse{})
		return s.ready()
	}
	for _, statement := range statements {
		r, err := s.run(ctx, statement)
		if err != nil {
			s.sendError("ERROR", toSQL(err))
			break
		}
		if err := s.sendResult(r); err != nil {
			return err
		}
	}
	return s.ready()
}

func (s *session) run(ctx context.Context, statement []token) (*result, error) {
	if r, ok, err := clientSetting(statement); ok {
		return r, err
	}
	cmd, args, err := match(s.console.commands, statement)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.console.cfg.StatementTimeout)
	s.setCancel(cancel)
	defer func() {
		s.setCancel(nil)
		cancel()
	}()
	return cmd.run(ctx, s.console.cfg.Backend, args)
}

func (s *session) setCancel(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
}

func (s *session) cancelStatement() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
}

func (s *session) sendResult(r *result) error {
	if r.columns != nil {
		s.proto.Send(&pgproto3.RowDescription{Fields: r.columns})
	}
	pending := 0
	for _, row := range r.rows {
		s.proto.Send(&pgproto3.DataRow{Values: row})
		for _, value := range row {
			pending += len(value)
		}
		if pending > 64<<10 {
			if err := s.flush(); err != nil {
				return err
			}
			pending = 0
		}
	}
	s.proto.Send(&pgproto3.CommandComplete{CommandTag: []byte(r.commandTag())})
	return nil
}

func (s *session) sendError(severity string, e *sqlError) {
	s.proto.Send(&pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: e.code,
		Message: clean(e.message), Detail: clean(e.detail), Hint: clean(e.hint),
	})
}

// clean takes out the byte that ends a string in the protocol.
func clean(s string) string { return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?") }

func (s *session) fatal(e *sqlError) {
	s.sendError("FATAL", e)
	_ = s.flush()
}

func (s *session) ready() error {
	s.proto.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return s.flush()
}

func (s *session) flush() error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	return s.proto.Flush()
}
