package consensus

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// The first byte of a connection says what follows. The values stay below 0x14, so that a TLS handshake (0x16), a line
// of HTTP, or a PostgreSQL client on the wrong port are told apart from them.
const (
	kindRaft byte = 1
	kindHTTP byte = 2
)

const (
	preambleVersion  = 1
	maxPreamble      = 2048
	maxNameLength    = 255
	handshakeTimeout = 5 * time.Second
	tlsAlertByte     = 0x15
	tlsHandshakeByte = 0x16
)

// preamble is what a dialler says of itself before anything else. On the wire: kind, version, length (2 bytes, big
// endian), and the rest as JSON. The answer is the same without the kind.
type preamble struct {
	Kind      byte          `json:"-"`
	Cluster   string        `json:"cluster"`
	ClusterID string        `json:"cluster_id,omitempty"`
	From      raft.ServerID `json:"from"`
	FromName  string        `json:"from_name,omitempty"`
	// To is the server that is meant. Whoever else listens at its address now must not answer for it. It is empty in
	// requests, never Raft's, to an address of which it is to be learned who is there.
	To raft.ServerID `json:"to"`
}

// welcome answers a preamble.
type welcome struct {
	// Refused says why the connection is turned away, "" = it is not.
	Refused string `json:"refused,omitempty"`
	// Heartbeat is the answering server's heartbeat timeout: how long it promises to vote for nobody else after it has
	// heard from a leader.
	Heartbeat time.Duration `json:"heartbeat,omitempty"`
}

func writePreamble(w io.Writer, p preamble) error {
	frame, err := encodeFrame(p)
	if err != nil {
		return err
	}
	_, err = w.Write(append([]byte{p.Kind}, frame...))
	return err
}

// readPreamble reads what writePreamble wrote. Its errors name the likely mistake.
func readPreamble(r io.Reader) (preamble, error) {
	var kind [1]byte
	if _, err := io.ReadFull(r, kind[:]); err != nil {
		return preamble{}, fmt.Errorf("read first byte: %w", err)
	}
	switch kind[0] {
	case kindRaft, kindHTTP:
	case tlsHandshakeByte:
		return preamble{}, errors.New("the peer speaks TLS and this agent does not: give all agents the same tls block")
	default:
		return preamble{}, fmt.Errorf("first byte %#02x is not pgraft's: is this port meant for something else?", kind[0])
	}
	p := preamble{}
	if err := decodeFrame(r, &p); err != nil {
		return preamble{}, err
	}
	p.Kind = kind[0]
	if len(p.Cluster) > maxNameLength || len(p.ClusterID) > maxNameLength || len(p.From) > maxNameLength || len(p.To) > maxNameLength {
		return preamble{}, errors.New("a name in the preamble is too long")
	}
	return p, nil
}

func writeWelcome(w io.Writer, answer welcome) error {
	frame, err := encodeFrame(answer)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

func readWelcome(r io.Reader) (welcome, error) {
	var answer welcome
	err := decodeFrame(r, &answer)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the peer closed the connection without an answer; does it use TLS, or is it not a pgraft agent? %w", err)
	}
	return answer, err
}

func encodeFrame(value any) ([]byte, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode preamble: %w", err)
	}
	if len(body) > maxPreamble {
		return nil, fmt.Errorf("encode preamble: %d bytes are more than %d", len(body), maxPreamble)
	}
	frame := binary.BigEndian.AppendUint16([]byte{preambleVersion}, uint16(len(body)))
	return append(frame, body...), nil
}

func decodeFrame(r io.Reader, value any) error {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read preamble: %w", err)
	}
	if head[0] == tlsAlertByte {
		return errors.New("the peer speaks TLS and this agent does not: give all agents the same tls block")
	}
	if head[0] != preambleVersion {
		return fmt.Errorf("protocol version %d is not %d: run the same pgraft release on all nodes", head[0], preambleVersion)
	}
	length := binary.BigEndian.Uint16(head[1:])
	if length > maxPreamble {
		return fmt.Errorf("preamble of %d bytes is more than %d", length, maxPreamble)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("read preamble: %w", err)
	}
	if err := json.Unmarshal(body, value); err != nil {
		return fmt.Errorf("decode preamble: %w", err)
	}
	return nil
}

// judge says why a connection with this preamble must be refused, "" = it must not.
func (p preamble) judge(cluster, clusterID string, self raft.ServerID) string {
	switch {
	case p.Cluster != cluster:
		return fmt.Sprintf("cluster_name %q is not ours, %q", p.Cluster, cluster)
	case p.ClusterID != "" && clusterID != "" && p.ClusterID != clusterID:
		return fmt.Sprintf("cluster id %s is not ours, %s: these are two clusters of the same name %q", p.ClusterID, clusterID, cluster)
	case p.To != self && (p.To != "" || p.Kind == kindRaft):
		return fmt.Sprintf("server %s was called and this is %s: the address belongs to another server now", p.To, self)
	case p.From == self:
		return "the caller has this server's own id: was a data_dir copied?"
	}
	return ""
}
