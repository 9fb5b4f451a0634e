package postgres

import (
	"net/url"
	"strings"
)

// hidden stands where a secret was.
const hidden = "xxxxx"

// Redact returns a connection string, URL or keywords and values, without its secrets, fit for a log. One that it can't
// read is hidden whole.
func Redact(conninfo string) string {
	if strings.HasPrefix(conninfo, "postgres://") || strings.HasPrefix(conninfo, "postgresql://") {
		return redactURL(conninfo)
	}
	pairs, ok := splitConninfo(conninfo)
	if !ok {
		return hidden
	}
	parts := make([]string, len(pairs))
	for i, p := range pairs {
		if isSecret(p.name) {
			p.value = hidden
		}
		parts[i] = p.name + "=" + QuoteConninfo(p.value)
	}
	return strings.Join(parts, " ")
}

func isSecret(keyword string) bool {
	switch strings.ToLower(keyword) {
	case "password", "sslpassword", "oauth_client_secret":
		return true
	}
	return false
}

func redactURL(conninfo string) string {
	u, err := url.Parse(conninfo)
	if err != nil {
		return hidden
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	query := u.Query()
	for name := range query {
		if isSecret(name) {
			query.Set(name, hidden)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

type conninfoPair struct{ name, value string }

// splitConninfo takes keyword=value pairs apart as libpq does: blanks around the equals sign, values in single quotes,
// backslash before a quote or a backslash.
func splitConninfo(s string) (pairs []conninfoPair, ok bool) {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" {
			return pairs, true
		}
		name, rest, found := strings.Cut(s, "=")
		name = strings.TrimRight(name, " \t\r\n")
		if !found || name == "" || strings.ContainsAny(name, " \t\r\n'") {
			return nil, false
		}
		value, rest, ok := cutValue(strings.TrimLeft(rest, " \t\r\n"))
		if !ok {
			return nil, false
		}
		pairs = append(pairs, conninfoPair{name, value})
		s = rest
	}
}

// cutValue returns the value that s begins with, and what follows it.
func cutValue(s string) (value, rest string, ok bool) {
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quoted && c == '\'':
			return b.String(), s[i+1:], true
		case !quoted && strings.IndexByte(" \t\r\n", c) >= 0:
			return b.String(), s[i:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", !quoted
}

// TakePassword takes the password out of keywords and values, so that they can be a program's argument, which every
// user of the machine may read, while the password goes another way. Of what it can't read it takes nothing.
func TakePassword(conninfo string) (rest, password string) {
	pairs, ok := splitConninfo(conninfo)
	if !ok {
		return conninfo, ""
	}
	var parts []string
	for _, p := range pairs {
		if strings.EqualFold(p.name, "password") {
			password = p.value
			continue
		}
		parts = append(parts, p.name+"="+QuoteConninfo(p.value))
	}
	return strings.Join(parts, " "), password
}
