package failover

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgraft/pgraft/api"
)

// Eyes look at other servers: their agents over the internal port, and their PostgreSQL's port by its own protocol.
// Their methods may be called from any goroutine.
type Eyes struct {
	Self string // server id
	// Transport reaches a server's internal port.
	Transport func(serverID string) http.RoundTripper
	// Address returns where a server's PostgreSQL listens, "" if unknown.
	Address func(serverID string) string
	// Timeout bounds each look; 0 = 300 ms.
	Timeout time.Duration
}

// DefaultTimeout bounds one look at a server.
const DefaultTimeout = 300 * time.Millisecond

func (e *Eyes) timeout() time.Duration {
	if e.Timeout > 0 {
		return e.Timeout
	}
	return DefaultTimeout
}

// Look looks at a server's agent and PostgreSQL at the same time.
func (e *Eyes) Look(ctx context.Context, serverID string) Sight {
	var s Sight
	var wg sync.WaitGroup
	wg.Go(func() { _, s.Agent, _ = e.View(ctx, serverID) })
	wg.Go(func() { s.Postgres = e.Postgres(ctx, serverID, true) })
	wg.Wait()
	return s
}

// View asks an agent about its PostgreSQL. An agent that answers with an error is alive and has no view.
func (e *Eyes) View(ctx context.Context, serverID string) (*View, Reach, error) {
	v := new(View)
	reach, err := e.get(ctx, serverID, ViewPath, v)
	if err != nil {
		return nil, reach, fmt.Errorf("ask for view: %w", err)
	}
	return v, reach, nil
}

// Ask asks another agent what it sees of a server. It takes as long as that agent's own look.
func (e *Eyes) Ask(ctx context.Context, asked, about string) (Sight, error) {
	var s Sight
	wider := Eyes{Transport: e.Transport, Timeout: 2 * e.timeout()}
	if _, err := wider.get(ctx, asked, SeesPath+"?server="+url.QueryEscape(about), &s); err != nil {
		return Sight{}, fmt.Errorf("ask what it sees: %w", err)
	}
	return s, nil
}

// maxAnswer bounds what a peer can make us read.
const maxAnswer = 256 << 10

func (e *Eyes) get(ctx context.Context, serverID, path string, answer any) (Reach, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://peer"+path, nil)
	if err != nil {
		return ReachUnknown, fmt.Errorf("build request: %w", err)
	}
	return exchange(e.Transport(serverID), req, answer)
}

// exchange sends a request to an agent and reads its JSON answer.
func exchange(transport http.RoundTripper, req *http.Request, answer any) (Reach, error) {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return unreached(err), err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return unreached(err), fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		failure := &api.Error{StatusCode: resp.StatusCode}
		if json.Unmarshal(content, failure) != nil || failure.Message == "" {
			failure = &api.Error{Code: api.CodeInternal, Message: "the agent answered with status " + resp.Status}
		}
		return ReachAlive, failure
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return ReachAlive, fmt.Errorf("read answer: %w", err)
	}
	return ReachAlive, nil
}

// unreached tells a port on which nobody listens from everything else. Only the former proves something, so a reset in
// the middle counts as silence: the next look tells.
func unreached(err error) Reach {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return ReachRefused
	}
	return ReachSilent
}

// Postgres looks at a server's PostgreSQL port. A light look only waits until the postmaster let a process of its own
// answer; a deep one tells a server that accepts clients from one that starts up.
func (e *Eyes) Postgres(ctx context.Context, serverID string, deep bool) Reach {
	address := e.Address(serverID)
	if address == "" {
		return ReachUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout())
	defer cancel()
	return knock(ctx, address, deep)
}

// The first messages of PostgreSQL's protocol. The user is the one that pg_hba.conf has a line for, so that the answer
// is a question for its password, and nothing is written to the server's log.
const (
	sslRequest   = 80877103
	protocol     = 3 << 16
	probeUser    = "pgraft_replication"
	probeDB      = "postgres"
	cannotAccept = "57P03" // cannot_connect_now
)

var errBusy = errors.New("PostgreSQL is there and answered with an error")

func knock(ctx context.Context, address string, deep bool) Reach {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return unreached(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // fails for a closed connection, as the write does
	}
	encrypted, err := askTLS(conn)
	switch {
	case errors.Is(err, errBusy) || err == nil && !deep:
		return ReachAccepting
	case err != nil:
		return ReachSilent
	}
	if encrypted {
		// Nothing secret is sent, so that it does not matter who answers.
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // see above
	}
	if _, err := conn.Write(startup()); err != nil {
		return ReachSilent
	}
	return readState(conn)
}

// askTLS sends an SSLRequest. Its answer is one byte.
func askTLS(conn net.Conn) (bool, error) {
	request := binary.BigEndian.AppendUint32(nil, 8)
	request = binary.BigEndian.AppendUint32(request, sslRequest)
	if _, err := conn.Write(request); err != nil {
		return false, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return false, err
	}
	switch answer[0] {
	case 'S', 'N':
		return answer[0] == 'S', nil
	case 'E': // the postmaster itself, which could not start a process for us
		return false, errBusy
	}
	return false, fmt.Errorf("no PostgreSQL: it answered %q", answer[0])
}

func startup() []byte {
	body := binary.BigEndian.AppendUint32(nil, protocol)
	body = append(body, "user\x00"+probeUser+"\x00database\x00"+probeDB+"\x00\x00"...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// readState reads the server's first message: a question for a password, or an error.
func readState(r io.Reader) Reach {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return ReachSilent
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'E' || size < 4 || size > maxAnswer {
		return ReachAccepting
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return ReachSilent
	}
	if slices.Contains(strings.Split(string(body), "\x00"), "C"+cannotAccept) {
		return ReachStarting
	}
	return ReachAccepting
}
