package pgext

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgraft/pgraft/api"
)

// The SQLSTATEs that the console answers with.
const (
	stateSyntax         = "42601"
	stateBadCharacter   = "22021"
	stateNotSupported   = "0A000"
	stateInvalid        = "22023" // invalid_parameter_value
	stateRights         = "42501"
	stateNotFound       = "P0002"
	stateInUse          = "55006" // object_in_use
	stateSerialization  = "40001"
	stateTooLarge       = "54000" // program_limit_exceeded
	stateTooMany        = "53000" // insufficient_resources
	stateInternal       = "XX000"
	stateCannotNow      = "57P03"
	stateNotPossible    = "55000" // object_not_in_prerequisite_state
	stateUnknown        = "40003" // statement_completion_unknown
	stateCanceled       = "57014" // query_canceled
	stateProtocol       = "08P01"
	stateBadPeer        = "28000"
	stateTooManyClients = "53300"
)

// sqlError is an error on its way to a PostgreSQL client.
type sqlError struct {
	code, message, detail, hint string
}

func (e *sqlError) Error() string { return e.message }

func syntaxError(message, hint string) error {
	if hint == "" {
		hint = "SHOW HELP lists the statements"
	}
	return &sqlError{code: stateSyntax, message: message, hint: hint}
}

func invalid(format string, args ...any) error {
	return &sqlError{code: stateInvalid, message: fmt.Sprintf(format, args...)}
}

// sqlState gives each of the API's error codes its SQLSTATE.
func sqlState(code string) string {
	switch code {
	case api.CodeBadRequest:
		return stateInvalid
	case api.CodeForbidden:
		return stateRights
	case api.CodeNotFound:
		return stateNotFound
	case api.CodeConflict:
		return stateInUse
	case api.CodePrecondition:
		return stateSerialization
	case api.CodeTooLarge:
		return stateTooLarge
	case api.CodeTooMany:
		return stateTooMany
	case api.CodeNoLeader, api.CodeUnavailable:
		return stateCannotNow
	case api.CodeNotLeader:
		return stateNotPossible
	case api.CodeInDoubt, api.CodeRetryExpired:
		return stateUnknown
	case api.CodeTimeout:
		return stateCanceled
	}
	return stateInternal
}

// toSQL turns what a Backend returned into what the client sees. Of an error that is not the API's own, only its type
// can tell whether the change may have been made.
func toSQL(err error) *sqlError {
	var own *sqlError
	if errors.As(err, &own) {
		return own
	}
	var e *api.Error
	if errors.As(err, &e) {
		return fromAPI(e)
	}
	var doubt interface{ InDoubt() bool }
	switch {
	case errors.As(err, &doubt) && doubt.InDoubt():
		return &sqlError{code: stateUnknown, message: err.Error(), hint: hintFor(api.CodeInDoubt)}
	case errors.Is(err, context.Canceled):
		return &sqlError{code: stateCanceled, message: "statement canceled"}
	case errors.Is(err, context.DeadlineExceeded):
		return &sqlError{code: stateCanceled, message: "statement took too long", hint: hintFor(api.CodeNoLeader)}
	}
	return &sqlError{code: stateInternal, message: err.Error()}
}

func fromAPI(e *api.Error) *sqlError {
	out := &sqlError{code: sqlState(e.Code), message: e.Message, hint: e.Hint}
	if out.message == "" {
		out.message = "error " + e.Code
	}
	if out.hint == "" && e.Code == api.CodeNotLeader && e.Leader != nil {
		out.hint = leaderHint(e.Leader.NodeID, e.Leader.Name)
	}
	if out.hint == "" {
		out.hint = hintFor(e.Code)
	}
	if e.RequestID != "" {
		out.detail = "Request id " + e.RequestID + "."
	}
	return out
}

func hintFor(code string) string {
	switch code {
	case api.CodeNoLeader, api.CodeUnavailable:
		return "the change was not made: check that a majority of the nodes is up (SHOW NODES), then try again"
	case api.CodeInDoubt, api.CodeRetryExpired:
		return "the change may have been made or not: look before you repeat it"
	}
	return ""
}

func leaderHint(nodeID int, name string) string {
	if nodeID == 0 {
		return "no leader is known: check that a majority of the nodes is up (SHOW NODES)"
	}
	return fmt.Sprintf("run it on the leader, node %d (%s)", nodeID, name)
}

// changeError marks the end of a change whose wait was cut short: nobody knows whether it was made.
func changeError(err error) error {
	var e *api.Error
	if errors.As(err, &e) || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &sqlError{code: stateUnknown, message: "no answer from the cluster in time", hint: hintFor(api.CodeInDoubt)}
}
