package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/pgraft/pgraft/api"
)

// MaxInternalBody bounds the body of a request to another agent's internal port.
const MaxInternalBody = 64 << 20

const (
	maxSmallBody     = 64 << 10
	maxIdlePerServer = 16
	idleConnTimeout  = time.Minute
)

// HandleInternal serves a pattern of http.ServeMux on the port that agents share, to agents of this cluster only.
// A pattern can be given once; those below /internal/raft/ are this package's own.
func (n *Node) HandleInternal(pattern string, handler http.Handler) {
	n.internal.Handle(pattern, http.MaxBytesHandler(handler, MaxInternalBody))
}

func (n *Node) newHTTPServer() *http.Server {
	logger := n.logger.Named("internal")
	return &http.Server{
		Handler:           n.internal,
		ReadHeaderTimeout: handshakeTimeout,
		IdleTimeout:       2 * idleConnTimeout, // the client's is shorter, so that it rarely meets a closed connection
		MaxHeaderBytes:    maxSmallBody,
		ErrorLog:          logger.StandardLogger(nil),
	}
}

type peerTransport struct {
	node *Node
	id   raft.ServerID
}

// PeerTransport returns a client of another agent's internal port. The server need not be known yet, and the host of
// what is requested is ignored.
func (n *Node) PeerTransport(id raft.ServerID) http.RoundTripper { return peerTransport{n, id} }

// AddressTransport returns a client of the internal port at an address, for the first contact with a server of which no
// id is known. It keeps no connection.
func (n *Node) AddressTransport(address string) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return n.dialer.dial(ctx, kindHTTP, "", address)
		},
		DisableKeepAlives: true,
	}
}

// RoundTrip sends a request to the server over a pooled connection. A connection that turns out to be dead is replaced
// once, and only for a request that can be repeated: one with an idempotent method, or that was not written at all.
func (p peerTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host, request.Host = "http", string(p.id), ""
	return p.node.httpClient.RoundTrip(request)
}

// errNotConnected marks a request that never left.
var errNotConnected = errors.New("not connected")

// newHTTPTransport dials servers by id: an address would go stale in the pool.
func (n *Node) newHTTPTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, host string) (net.Conn, error) {
			id := raft.ServerID(strings.TrimSuffix(host, ":80"))
			address, ok := n.addressOf(id)
			if !ok {
				return nil, fmt.Errorf("%w: no address is known for server %s", errNotConnected, id)
			}
			conn, err := n.dialer.dial(ctx, kindHTTP, id, address)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errNotConnected, err)
			}
			return conn, nil
		},
		MaxIdleConnsPerHost: maxIdlePerServer,
		IdleConnTimeout:     idleConnTimeout,
		DisableCompression:  true,
	}
}

// call sends a small JSON request to a server and decodes its answer.
func (n *Node) call(ctx context.Context, id raft.ServerID, method, path string, body, answer any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://server"+path, strings.NewReader(string(encoded)))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	response, err := n.PeerTransport(id).RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxSmallBody))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return decodeError(response.StatusCode, content)
	}
	return json.Unmarshal(content, answer)
}

// decodeError makes an *api.Error of an answer that is not a success.
func decodeError(status int, content []byte) error {
	failure := &api.Error{StatusCode: status}
	if err := json.Unmarshal(content, failure); err != nil || failure.Message == "" {
		failure.Message = fmt.Sprintf("the other agent answered with status %d", status)
	}
	return failure
}

func writeError(w http.ResponseWriter, status int, failure *api.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(failure)
}

// serveJSON makes a handler of a function from a small JSON request to a JSON answer.
func serveJSON[Q, A any](serve func(context.Context, Q) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request Q
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSmallBody)).Decode(&request); err != nil {
			writeError(w, http.StatusBadRequest, &api.Error{Code: api.CodeBadRequest, Message: "decode request: " + err.Error()})
			return
		}
		answer, err := serve(r.Context(), request)
		if err != nil {
			failure := &api.Error{Code: api.CodeConflict, Message: err.Error()}
			errors.As(err, &failure)
			writeError(w, http.StatusConflict, failure)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
}
