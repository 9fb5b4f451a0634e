package command

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/pgraft/pgraft/api"
)

// writeError prints an error and, below it, what to do next.
func writeError(w io.Writer, err error) {
	text, next := explain(err)
	fmt.Fprintln(w, "Error:", text)
	if next != "" {
		fmt.Fprintln(w, wrap(next, tableWidth, "  "))
	}
}

const startAnAgent = "Start one with `pgraft agent -config=FILE` (or try `pgraft demo`), or say where it listens with " +
	"-http-addr or " + api.EnvAddress + "."

// explain returns what went wrong and what the operator can do about it.
func explain(err error) (text, next string) {
	var adv *advised
	if errors.As(err, &adv) {
		return err.Error(), adv.next
	}
	var apiErr *api.Error
	if errors.As(err, &apiErr) {
		return prefixOf(err, apiErr) + apiErr.Message, adviceFor(apiErr)
	}
	return err.Error(), ""
}

// answered tells whether it was an agent that said no, and not the way to it.
func answered(err error) bool {
	var apiErr *api.Error
	return errors.As(err, &apiErr) && apiErr.StatusCode != 0
}

// advised is an error that knows the next step itself.
type advised struct {
	err  error
	next string
}

func (a *advised) Error() string { return a.err.Error() }
func (a *advised) Unwrap() error { return a.err }

func advise(err error, next string) error { return &advised{err: err, next: next} }

// prefixOf keeps what the verb said around the API's error: `import "a/b": value too large`.
func prefixOf(err error, inner *api.Error) string {
	prefix, found := strings.CutSuffix(err.Error(), inner.Error())
	if !found {
		return ""
	}
	return prefix
}

func adviceFor(e *api.Error) string {
	if e.Hint != "" {
		return sentence(e.Hint)
	}
	if strings.Contains(e.Message, "HTTP request to an HTTPS server") {
		return "This agent speaks TLS: write its address with https:// in -http-addr or " + api.EnvAddress + ", and name its CA with -ca-file."
	}
	switch e.Code {
	case api.CodeNoLeader:
		return "Nothing was changed. The cluster has no leader: `pgraft status` on each node says which agents are " +
			"missing; a majority of the voters must run."
	case api.CodeNotLeader:
		if e.Leader != nil && e.Leader.HTTPAddress != "" {
			return fmt.Sprintf("Only the leader does this: ask %s with -http-addr=%s.", e.Leader.Name, e.Leader.HTTPAddress)
		}
		return "Only the leader does this: `pgraft status` says who it is."
	case api.CodeInDoubt:
		return "The change may or may not have been made. Look before you repeat it." + requestID(e)
	case api.CodeForbidden:
		return "Give a token that may do this with -token or PGRAFT_TOKEN."
	case api.CodeRetryExpired:
		return "It is not known whether the first try was applied: look before you repeat it."
	case api.CodeUnavailable, api.CodeTimeout:
		return "See `pgraft status` for what is wrong, and try again."
	}
	return ""
}

func requestID(e *api.Error) string {
	if e.RequestID == "" {
		return ""
	}
	return " The request's id is " + e.RequestID + "."
}

func sentence(s string) string {
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// unreachable tells whether nobody listens where we called.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED)
}

func tlsAdvice(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return "The agent's certificate is signed by a CA that this command does not know: give it with -ca-file."
	case errors.As(err, &host):
		return "The agent's certificate is for another name: give that name with -tls-server-name."
	case errors.As(err, &record):
		return "The agent does not speak TLS there: use http:// in -http-addr."
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "The agent does not speak TLS there: use http:// in -http-addr."
	case strings.Contains(err.Error(), "tls: certificate required"), strings.Contains(err.Error(), "bad certificate"):
		return "The agent wants a client certificate: give one with -cert-file and -key-file."
	}
	return ""
}

// rootCause is the innermost error's text: "connection refused" without the layers of a dialer around it.
func rootCause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
