package command

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"time"
)

// output is the -format flag and what it decides.
type output struct{ format string }

func (o *output) flags(fs *flag.FlagSet) {
	fs.Func("format", "how to print: `table` or json (default table)", func(s string) error {
		if s != "table" && s != "json" {
			return fmt.Errorf("want table or json")
		}
		o.format = s
		return nil
	})
}

// print writes value as JSON if that was asked for, else calls text.
func (o *output) print(w io.Writer, value any, text func(io.Writer) error) error {
	if o.format == "json" {
		return writeJSON(w, value)
	}
	return text(w)
}

func writeJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// yesNo is a boolean in a table.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// orDash stands in for what is empty, so that columns can be told apart and cut -f can count them.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// millis shows a duration in milliseconds, where a negative one means unknown.
func millis(ms int64) string {
	if ms < 0 {
		return "?"
	}
	return ago(time.Duration(ms) * time.Millisecond)
}

// ago shows a duration with two significant units at most.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// bytesText shows a size.
func bytesText(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}
