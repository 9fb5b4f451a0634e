package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse turns text, from a flag or from postgresql.conf, into a value of the key's type that is within its bounds.
func (k *Key) parse(text string) (any, error) {
	v, err := parseAs(k.field(&Config{}), text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a %s: write for example %s", text, k.Type(), strings.Trim(k.Example, `"`))
	}
	return v, k.check(v)
}

func parseAs(field any, text string) (any, error) {
	switch field.(type) {
	case *string:
		return text, nil
	case *int:
		return strconv.Atoi(text)
	case *uint64:
		return strconv.ParseUint(text, 10, 64)
	case *bool:
		return strconv.ParseBool(text)
	case *time.Duration:
		return time.ParseDuration(text)
	default:
		return nil, fmt.Errorf("type %T can't be written as one text", field)
	}
}

// check holds a value against the key's bounds.
func (k *Key) check(v any) error {
	switch v := v.(type) {
	case string:
		if k.Values != nil && !slices.Contains(k.Values, v) {
			return fmt.Errorf("%q is not known: write one of %s", v, strings.Join(k.Values, ", "))
		}
	case int:
		return k.checkBounds(int64(v), func(n int64) string { return strconv.FormatInt(n, 10) })
	case uint64:
		return k.checkBounds(int64(min(v, 1<<62)), func(n int64) string { return strconv.FormatInt(n, 10) })
	case time.Duration:
		return k.checkBounds(int64(v), func(n int64) string { return formatDuration(time.Duration(n)) })
	}
	return nil
}

func (k *Key) checkBounds(n int64, text func(int64) string) error {
	switch {
	case n >= k.Min && (k.Max == 0 || n <= k.Max):
		return nil
	case k.Max == 0:
		return fmt.Errorf("%s is too small: write %s or more", text(n), text(k.Min))
	default:
		return fmt.Errorf("%s is out of bounds: write something from %s to %s", text(n), text(k.Min), text(k.Max))
	}
}

// set stores a value that parse or the decoder made.
func (k *Key) set(c *Config, v any) {
	switch field := k.field(c).(type) {
	case *string:
		*field = v.(string)
	case *int:
		*field = v.(int)
	case *uint64:
		*field = v.(uint64)
	case *bool:
		*field = v.(bool)
	case *time.Duration:
		*field = v.(time.Duration)
	case *[]string:
		*field = v.([]string)
	case *map[string]string:
		*field = v.(map[string]string)
	}
}

// text renders the key's value in c the way that people write it.
func (k *Key) text(c *Config) string {
	switch field := k.field(c).(type) {
	case *string:
		return *field
	case *int:
		return strconv.Itoa(*field)
	case *uint64:
		return strconv.FormatUint(*field, 10)
	case *bool:
		return strconv.FormatBool(*field)
	case *time.Duration:
		return formatDuration(*field)
	case *[]string:
		return strings.Join(*field, ", ")
	case *map[string]string:
		return formatMap(*field)
	}
	return ""
}

func formatMap(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for k, v := range m {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// formatDuration writes a duration without the zero units that Go puts behind it: 24h, not 24h0m0s; and 0ms for
// nothing, since the contract writes it so.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0ms"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
