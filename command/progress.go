package command

import (
	"fmt"
	"io"
	"time"
)

// progress tells on standard error how far long work is: on a terminal in one line that changes, elsewhere not at all
// before its end, so that logs stay short.
type progress struct {
	w       io.Writer
	noun    string
	tty     bool
	started time.Time
	last    time.Time
	shown   bool
}

const progressEvery = 200 * time.Millisecond

func newProgress(w io.Writer, noun string) *progress {
	return &progress{w: w, noun: noun, tty: isTerminal(w), started: time.Now()}
}

// set shows n of total; a total of 0 is unknown.
func (p *progress) set(n, total int64) {
	if !p.tty || time.Since(p.last) < progressEvery {
		return
	}
	p.last, p.shown = time.Now(), true
	text := fmt.Sprintf("%d %s", n, p.noun)
	if p.noun == "bytes" {
		text = bytesText(n)
	}
	if total > 0 {
		text += fmt.Sprintf(" (%d%%)", n*100/total)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s, %s", text, ago(time.Since(p.started)))
}

// done removes the line.
func (p *progress) done() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// countingReader reports what was read through it.
type countingReader struct {
	io.Reader
	n, total int64
	progress *progress
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	c.progress.set(c.n, c.total)
	return n, err
}

// countingWriter reports what was written through it.
type countingWriter struct {
	io.Writer
	n        int64
	progress *progress
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	c.progress.set(c.n, 0)
	return n, err
}
