package pgext

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// command is one statement of the console.
type command struct {
	syntax   string // as SHOW HELP prints it: KEYWORDS, then arguments, those in brackets optional
	help     string
	run      func(ctx context.Context, b Backend, args []string) (*result, error)
	keywords []string
	min, max int // of arguments
}

// commands lists the console's statements. Where one's keywords begin another's, the longer one is meant.
func commands() []command {
	list := append(showCommands(), []command{
		{syntax: "KV GET key", help: "the key's value as the cluster has it now", run: kvGet},
		{syntax: "KV EXISTS key", help: "does the cluster have the key", run: kvExists},
		{syntax: "KV LIST [prefix]", help: "keys that start with the prefix", run: kvList},
		{syntax: "KV PUT key value", help: "set a key", run: kvPut},
		{syntax: "KV CAS key version value", help: "set a key if its version is the given one, 0 = if there is none", run: kvCAS},
		{syntax: "KV DELETE key", help: "remove a key", run: kvDelete},
		{syntax: "ADD NODE node_id address port", help: "let the agent at the address into the cluster", run: addNode},
		{syntax: "REMOVE NODE node_id", help: "take a node out of the cluster for good", run: removeNode},
		{syntax: "TRANSFER LEADERSHIP node_id", help: "make a voter the Raft leader", run: transferLeadership},
		{syntax: "SWITCHOVER node_id", help: "make a standby the primary, losing nothing", run: switchover},
		{syntax: "WAIT INDEX index [timeout]", help: "until this node has applied the log index; timeout like 5s", run: waitIndex},
		{syntax: "REPLICATE ENTRY data", help: "send data through the log, changing nothing", run: replicate},
		{syntax: "SNAPSHOT", help: "take a Raft snapshot on this node", run: snapshot},
		{syntax: "SET DEBUG on|off", help: "switch this agent's debug log", run: setDebug},
		{syntax: "SELECT 1", help: "does the console answer", run: selectOne},
	}...)
	list = append(list,
		command{syntax: "SHOW HELP", help: "this list"}, command{syntax: "HELP", help: "the same"})
	for i := range list {
		list[i].parseSyntax()
	}
	for i := range list {
		if list[i].run == nil {
			list[i].run = func(context.Context, Backend, []string) (*result, error) { return helpResult(list), nil }
		}
	}
	return list
}

func (c *command) parseSyntax() {
	for field := range strings.FieldsSeq(c.syntax) {
		switch {
		case c.max == 0 && isKeyword(field):
			c.keywords = append(c.keywords, field)
		case strings.HasPrefix(field, "["):
			c.max++
		default:
			c.min++
			c.max++
		}
	}
}

func isKeyword(word string) bool {
	return strings.IndexFunc(word, func(r rune) bool { return !unicode.IsUpper(r) && !unicode.IsDigit(r) }) < 0
}

func helpResult(list []command) *result {
	r := newResult(textColumn("statement"), textColumn("what it does"))
	for _, c := range list {
		r.add(c.syntax, c.help)
	}
	return r
}

// match returns the command that a statement means, and its arguments.
func match(list []command, statement []token) (*command, []string, error) {
	var best *command
	for i, c := range list {
		if c.begins(statement) && (best == nil || len(c.keywords) > len(best.keywords)) {
			best = &list[i]
		}
	}
	if best == nil {
		return nil, nil, unknownStatement(statement)
	}
	var args []string
	for _, t := range statement[len(best.keywords):] {
		args = append(args, t.text)
	}
	if len(args) < best.min || len(args) > best.max {
		return nil, nil, syntaxError(strings.Join(best.keywords, " ")+": wrong number of arguments", "write: "+best.syntax)
	}
	return best, args, nil
}

func (c command) begins(statement []token) bool {
	if len(statement) < len(c.keywords) {
		return false
	}
	for i, word := range c.keywords {
		if !statement[i].keyword(word) {
			return false
		}
	}
	return true
}

// unknownStatement tells somebody who takes the console for PostgreSQL where to go.
func unknownStatement(statement []token) error {
	first := strings.ToUpper(statement[0].text)
	switch first {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE", "ALTER", "DROP", "TABLE", "VALUES", "COPY", "EXPLAIN",
		"BEGIN", "START", "COMMIT", "ROLLBACK", "END", "ABORT", "SAVEPOINT", "LISTEN", "PREPARE", "DECLARE", "DO", "CALL":
		return &sqlError{
			code: stateNotSupported, message: "this is pgraft's console, not PostgreSQL: it has no " + first,
			hint: "SHOW HELP lists its statements; for SQL connect to PostgreSQL itself",
		}
	}
	words := make([]string, 0, 2)
	for _, t := range statement[:min(2, len(statement))] {
		words = append(words, shorten(t.text))
	}
	return syntaxError(`unknown statement "`+strings.Join(words, " ")+`"`, "")
}

// shorten keeps an error message readable whatever was sent.
func shorten(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

func selectOne(context.Context, Backend, []string) (*result, error) {
	return newResult(intColumn("?column?")).add(1), nil
}

// clientSetting answers the settings that drivers make at the start of a session.
func clientSetting(statement []token) (_ *result, ok bool, _ error) {
	if len(statement) < 2 || !statement[0].keyword("SET") || statement[1].keyword("DEBUG") {
		return nil, false, nil
	}
	last := strings.ToUpper(strings.Trim(statement[len(statement)-1].text, "="))
	encoding := strings.EqualFold(statement[1].text, "client_encoding") || statement[1].keyword("NAMES")
	if encoding && last != "UTF8" && last != "UTF-8" && last != "UNICODE" && last != "SQL_ASCII" && last != "DEFAULT" {
		return nil, true, &sqlError{
			code: stateNotSupported, message: "the console speaks UTF-8 only, not " + shorten(last),
			hint: "set PGCLIENTENCODING=UTF8",
		}
	}
	return &result{tag: "SET"}, true, nil
}

func nodeArg(arg string) (int, error) {
	id, err := strconv.ParseInt(arg, 10, 32)
	if err != nil || id < 1 {
		return 0, invalid("node_id must be a number from 1, not %q", shorten(arg))
	}
	return int(id), nil
}

func portArg(arg string) (int, error) {
	port, err := strconv.ParseUint(arg, 10, 16)
	if err != nil || port == 0 {
		return 0, invalid("port must be a number from 1 to 65535, not %q", shorten(arg))
	}
	return int(port), nil
}

func numberArg(name, arg string) (uint64, error) {
	n, err := strconv.ParseUint(arg, 10, 63)
	if err != nil {
		return 0, invalid("%s must be a number from 0, not %q", name, shorten(arg))
	}
	return n, nil
}

func durationArg(arg string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(arg, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	d, err := time.ParseDuration(arg)
	if err != nil || d < 0 {
		return 0, invalid("timeout must be like 5s or 500ms, not %q", shorten(arg))
	}
	return d, nil
}
