package pgext

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// token is a word or a quoted string of a console statement.
type token struct {
	text   string
	quoted bool
}

// keyword reports whether the token is the given upper-case word, unquoted.
func (t token) keyword(word string) bool { return !t.quoted && strings.EqualFold(t.text, word) }

// lexer takes a query apart into statements. It knows what psql and PostgreSQL's format('%L') send: strings with quotes
// doubled, E'a\\b', "name", comments, and words of everything else.
type lexer struct {
	in  string
	pos int
}

// splitStatements returns the statements between the semicolons, without empty ones.
func splitStatements(query string) ([][]token, error) {
	l := lexer{in: query}
	var statements [][]token
	var current []token
	for {
		if err := l.skipBlank(); err != nil {
			return nil, err
		}
		if l.pos == len(l.in) || l.in[l.pos] == ';' {
			if len(current) > 0 {
				statements = append(statements, current)
				current = nil
			}
			if l.pos == len(l.in) {
				return statements, nil
			}
			l.pos++
			continue
		}
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		current = append(current, t)
	}
}

func (l *lexer) skipBlank() error {
	for l.pos < len(l.in) {
		rest := l.in[l.pos:]
		switch {
		case strings.IndexByte(" \t\r\n\f\v", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "--"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			l.pos += end
		case strings.HasPrefix(rest, "/*"):
			if err := l.skipComment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// skipComment passes a comment, which may hold comments.
func (l *lexer) skipComment() error {
	depth := 0
	for l.pos < len(l.in) {
		rest := l.in[l.pos:]
		switch {
		case strings.HasPrefix(rest, "/*"):
			depth++
			l.pos += 2
		case strings.HasPrefix(rest, "*/"):
			depth--
			l.pos += 2
			if depth == 0 {
				return nil
			}
		default:
			l.pos++
		}
	}
	return syntaxError("unterminated /* comment", "")
}

// next reads one token; there is one at pos.
func (l *lexer) next() (token, error) {
	rest := l.in[l.pos:]
	switch {
	case rest[0] == '\'' || rest[0] == '"':
		return l.quoted(rest[0], false)
	case len(rest) > 1 && (rest[0] == 'E' || rest[0] == 'e') && rest[1] == '\'':
		l.pos++
		return l.quoted('\'', true)
	}
	end := strings.IndexAny(rest, " \t\r\n\f\v;'\"")
	if end < 0 {
		end = len(rest)
	}
	l.pos += end
	return checkText(token{text: rest[:end]})
}

// quoted reads a string up to its closing quote, which is doubled where it belongs to the string.
func (l *lexer) quoted(quote byte, escapes bool) (token, error) {
	var b strings.Builder
	l.pos++
	for l.pos < len(l.in) {
		c := l.in[l.pos]
		switch {
		case c == quote && strings.HasPrefix(l.in[l.pos+1:], string(rune(quote))):
			b.WriteByte(quote)
			l.pos += 2
		case c == quote:
			l.pos++
			return checkText(token{text: b.String(), quoted: true})
		case c == '\\' && escapes:
			if err := l.escape(&b); err != nil {
				return token{}, err
			}
		default:
			b.WriteByte(c)
			l.pos++
		}
	}
	return token{}, syntaxError("unterminated quoted string", "")
}

// escape reads what follows a backslash in E'…', as PostgreSQL does.
func (l *lexer) escape(b *strings.Builder) error {
	l.pos++
	if l.pos == len(l.in) {
		return syntaxError("unterminated quoted string", "")
	}
	c := l.in[l.pos]
	l.pos++
	switch c {
	case 'b', 'f', 'n', 'r', 't':
		b.WriteByte("\b\f\n\r\t"[strings.IndexByte("bfnrt", c)])
	case 'x':
		return l.number(b, "x", 1, 2, 16)
	case 'u':
		return l.number(b, "u", 4, 4, 16)
	case 'U':
		return l.number(b, "U", 8, 8, 16)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		l.pos--
		return l.number(b, "", 1, 3, 8)
	default:
		b.WriteByte(c)
	}
	return nil
}

// number reads the digits of an escape: a byte, or a character for \u and \U.
func (l *lexer) number(b *strings.Builder, kind string, least, most, base int) error {
	start := l.pos
	for l.pos < len(l.in) && l.pos-start < most && digit(l.in[l.pos], base) {
		l.pos++
	}
	digits := l.in[start:l.pos]
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || len(digits) < least {
		return syntaxError(`invalid escape \`+kind+digits, "write a backslash as \\\\")
	}
	if kind == "u" || kind == "U" {
		if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
			return syntaxError(`invalid character \`+kind+digits, "")
		}
		b.WriteRune(rune(n))
		return nil
	}
	b.WriteByte(byte(n))
	return nil
}

func digit(c byte, base int) bool {
	if base == 8 {
		return c >= '0' && c <= '7'
	}
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// checkText refuses what is no text to PostgreSQL either.
func checkText(t token) (token, error) {
	if !utf8.ValidString(t.text) || strings.IndexByte(t.text, 0) >= 0 {
		return token{}, &sqlError{
			code: stateBadCharacter, message: "statement has bytes that are not UTF-8 text",
			hint: "the console speaks UTF-8 only; binary values go over the HTTP API: PUT /v1/kv/KEY",
		}
	}
	return t, nil
}
