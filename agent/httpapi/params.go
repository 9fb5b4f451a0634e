package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// request is an HTTP request with its query parsed and checked against its route's parameters.
type request struct {
	*http.Request
	query url.Values
	route *route
	mode  readMode
	// forwarded tells that another agent sent it here, as to the one that answers it.
	forwarded bool
}

// parseQuery refuses parameters that the route doesn't know: a mistyped ?recurse or ?cas must not change what a write
// does without a word.
func parseQuery(raw string, rt *route) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("parse query: %v", err)
	}
	for name, values := range query {
		if !rt.knows(name) {
			return nil, unknownParam(name, rt)
		}
		if len(values) > 1 {
			return nil, badRequest("parameter %q is given %d times", name, len(values))
		}
	}
	return query, nil
}

func unknownParam(name string, rt *route) error {
	e := badRequest("unknown parameter %q", name)
	known := make([]string, 0, len(rt.params))
	for _, p := range rt.allParams() {
		known = append(known, p.name)
	}
	if len(known) == 0 {
		e.Hint = "this route takes none"
		return e
	}
	slices.Sort(known)
	e.Hint = "this route takes " + strings.Join(known, ", ")
	return e
}

// flag reads a switch: ?x, ?x=true and ?x=1 turn it on.
func (r *request) flag(name string) (bool, error) {
	values, ok := r.query[name]
	if !ok {
		return false, nil
	}
	if values[0] == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(values[0])
	if err != nil {
		return false, badRequest("parameter %q: want true or false, not %q", name, values[0])
	}
	return on, nil
}

// number reads an unsigned integer and whether it was given.
func (r *request) number(name string) (uint64, bool, error) {
	values, ok := r.query[name]
	if !ok {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(values[0], 10, 64)
	if err != nil {
		return 0, true, badRequest("parameter %q: want a number from 0 up, not %q", name, values[0])
	}
	return n, true, nil
}

// duration reads a Go duration, or a number of seconds.
func (r *request) duration(name string, fallback time.Duration) (time.Duration, error) {
	values, ok := r.query[name]
	if !ok || values[0] == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(values[0])
	if err != nil {
		seconds, numErr := strconv.ParseUint(values[0], 10, 31)
		if numErr != nil {
			return 0, badRequest("parameter %q: want a duration such as 30s, not %q", name, values[0])
		}
		d = time.Duration(seconds) * time.Second
	}
	if d < 0 {
		return 0, badRequest("parameter %q: %s is negative", name, values[0])
	}
	return d, nil
}

func (r *request) text(name string) string { return r.query.Get(name) }

// exclusive refuses more than one of the named switches and parameters.
func (r *request) exclusive(names ...string) error {
	var given []string
	for _, name := range names {
		if _, ok := r.query[name]; ok {
			given = append(given, name)
		}
	}
	if len(given) > 1 {
		return badRequest("parameters %s contradict each other: give one", strings.Join(given, " and "))
	}
	return nil
}
