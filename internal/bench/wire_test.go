package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/internal/testcluster"
)

// putWire writes over HTTP/1.1 as load generators do, which share the processors with what they measure: each client has
// one connection, sends bytes that are ready but for the key, and reads no more of an answer than it must.
func putWire(b *testing.B, clients int, d time.Duration, n *testcluster.Node) *outcome {
	conns := make([]*wire, clients)
	for i := range conns {
		conns[i] = dialWire(b, n)
	}
	return drive(b, clients, d, func(_ context.Context, i int) error { return conns[i].put(someKey()) })
}

// wire is one client's connection.
type wire struct {
	conn    net.Conn
	answers *bufio.Reader
	request []byte
	rest    string // what follows the key
}

func dialWire(b *testing.B, n *testcluster.Node) *wire {
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.HTTP, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil { // of the whole measurement
		b.Fatal(err)
	}
	rest := fmt.Sprintf(" HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%s", len(value), value)
	return &wire{conn: conn, answers: bufio.NewReader(conn), rest: rest}
}

// put writes one key. An answer other than 200 is an error, and so is one without a length.
func (w *wire) put(key string) error {
	w.request = append(append(append(w.request[:0], "PUT /v1/kv/"...), key...), w.rest...)
	if _, err := w.conn.Write(w.request); err != nil {
		return err
	}
	status, length, err := w.readHead()
	if err != nil {
		return err
	}
	body, err := w.answers.Peek(length)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("put %s: status %d: %s", key, status, body)
	}
	_, err = w.answers.Discard(length)
	return err
}

// readHead reads the status line and the header.
func (w *wire) readHead() (status, length int, err error) {
	length = -1
	for first := true; ; first = false {
		line, err := w.answers.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		name, text, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		switch {
		case first:
			status, err = strconv.Atoi(string(text[:min(3, len(text))]))
		case bytes.EqualFold(name, []byte("Content-Length:")):
			length, err = strconv.Atoi(string(text))
		case len(name) == 0 && length < 0:
			err = fmt.Errorf("status %d: an answer without a length", status)
		case len(name) == 0:
			return status, length, nil
		}
		if err != nil {
			return 0, 0, err
		}
	}
}
