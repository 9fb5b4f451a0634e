package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits of what a node may say about itself. Together they keep every encoded [Meta] within [MaxMetaSize],
// whatever the values are; TestMetaLargestFits holds them to that.
const (
	MaxMetaSize    = 512 // memberlist's limit
	MaxNameLen     = 128
	MaxAddressLen  = 120
	MaxVersionLen  = 32
	MaxZoneLen     = 64
	MaxClusterName = 255 // memberlist's limit for a label
)

const metaVersion = 1

// Flags of an encoded Meta.
const (
	flagNonVoting = 1 << iota
	flagWitness
	flagLeaving
	flagHasState
)

// Meta is what a node tells the others about itself. The second group of fields is filled in by Membership, which
// ignores what a caller puts there.
type Meta struct {
	RaftAddress     string `json:"raft_address"`
	HTTPAddress     string `json:"http_address"`
	PostgresAddress string `json:"postgres_address,omitempty"`
	Version         string `json:"version"`
	Protocol        int    `json:"protocol"`
	Expect          int    `json:"expect,omitempty"` // bootstrap_expect
	NonVoting       bool   `json:"non_voting,omitempty"`
	Witness         bool   `json:"witness,omitempty"`
	Zone            string `json:"zone,omitempty"`
	// HasState tells that the server had a Raft log when it started: where its ClusterID is not known yet it belongs to
	// some cluster all the same.
	HasState bool `json:"has_state,omitempty"`

	ServerID  string    `json:"server_id"`
	ClusterID string    `json:"cluster_id,omitempty"` // empty until the cluster has one
	Started   time.Time `json:"started"`              // of this life of the node, by its own clock, in milliseconds
	Leaving   bool      `json:"leaving,omitempty"`    // said goodbye: its silence is no failure
}

// EncodeMeta gives the gossiped form of m: a version byte, flags, the ids as raw bytes, numbers as uvarints, and
// strings with their length in front. A reader ignores what follows the fields that it knows, so that later
// versions can add fields without a new version byte.
func EncodeMeta(m Meta) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	server, err := parseID("server id", m.ServerID, false)
	if err != nil {
		return nil, err
	}
	cluster, err := parseID("cluster id", m.ClusterID, true)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 0, MaxMetaSize)
	buf = append(buf, metaVersion, m.flags())
	buf = append(buf, server[:]...)
	buf = append(buf, cluster[:]...)
	buf = binary.AppendUvarint(buf, uint64(max(m.Started.UnixMilli(), 0)))
	buf = binary.AppendUvarint(buf, uint64(m.Protocol))
	buf = binary.AppendUvarint(buf, uint64(m.Expect))
	for _, s := range []string{m.RaftAddress, m.HTTPAddress, m.PostgresAddress, m.Version, m.Zone} {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	return buf, nil
}

// DecodeMeta reads what EncodeMeta wrote, on this or on another node.
func DecodeMeta(buf []byte) (Meta, error) {
	if len(buf) == 0 {
		return Meta{}, errors.New("decode metadata: empty: not a pgraft node")
	}
	if buf[0] != metaVersion {
		return Meta{}, fmt.Errorf("decode metadata: version %d, this node knows version %d", buf[0], metaVersion)
	}
	d := decoder{buf: buf[1:]}
	flags := d.byte()
	m := Meta{
		NonVoting: flags&flagNonVoting != 0,
		Witness:   flags&flagWitness != 0,
		Leaving:   flags&flagLeaving != 0,
		HasState:  flags&flagHasState != 0,
		ServerID:  d.id(),
		ClusterID: d.id(),
		Started:   time.UnixMilli(int64(d.number(1 << 48))).UTC(),
		Protocol:  int(d.number(maxSmallNumber)),
		Expect:    int(d.number(maxSmallNumber)),
	}
	m.RaftAddress = d.text(MaxAddressLen)
	m.HTTPAddress = d.text(MaxAddressLen)
	m.PostgresAddress = d.text(MaxAddressLen)
	m.Version = d.text(MaxVersionLen)
	m.Zone = d.text(MaxZoneLen)
	if d.bad == "" && m.ServerID == "" {
		d.bad = "server id is zero"
	}
	if d.bad != "" {
		return Meta{}, fmt.Errorf("decode metadata: %s", d.bad)
	}
	return m, nil
}

const maxSmallNumber = 1 << 16

func (m Meta) flags() byte {
	var f byte
	if m.NonVoting {
		f |= flagNonVoting
	}
	if m.Witness {
		f |= flagWitness
	}
	if m.Leaving {
		f |= flagLeaving
	}
	if m.HasState {
		f |= flagHasState
	}
	return f
}

// validate names everything that does not fit.
func (m Meta) validate() error {
	var errs []error
	check := func(what, value string, limit int) {
		if len(value) > limit {
			errs = append(errs, fmt.Errorf("%s is %d bytes long, the limit is %d: %.40q…", what, len(value), limit, value))
		} else if !utf8.ValidString(value) {
			errs = append(errs, fmt.Errorf("%s is not valid UTF-8: %q", what, value))
		}
	}
	check("raft address", m.RaftAddress, MaxAddressLen)
	check("http address", m.HTTPAddress, MaxAddressLen)
	check("postgres address", m.PostgresAddress, MaxAddressLen)
	check("version", m.Version, MaxVersionLen)
	check("zone", m.Zone, MaxZoneLen)
	for what, n := range map[string]int{"protocol": m.Protocol, "bootstrap_expect": m.Expect} {
		if n < 0 || n > maxSmallNumber {
			errs = append(errs, fmt.Errorf("%s is %d, it must be between 0 and %d", what, n, maxSmallNumber))
		}
	}
	return errors.Join(errs...)
}

// parseID reads a UUID. The zero UUID stands for "none" on the wire, so it is no valid id.
func parseID(what, text string, mayBeEmpty bool) (uuid.UUID, error) {
	if text == "" && mayBeEmpty {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, fmt.Errorf("parse %s %q: it must be a UUID: %w", what, text, err)
	}
	if id == uuid.Nil {
		return uuid.Nil, fmt.Errorf("parse %s %q: the zero UUID is no id", what, text)
	}
	return id, nil
}

// decoder takes fields off the front of buf. After the first thing that is wrong, bad says what, and zeros follow.
type decoder struct {
	buf []byte
	bad string
}

func (d *decoder) take(n int) []byte {
	if d.bad != "" {
		return nil
	}
	if len(d.buf) < n {
		d.bad = "cut short"
		return nil
	}
	out := d.buf[:n]
	d.buf = d.buf[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) id() string {
	b := d.take(16)
	if b == nil || uuid.UUID(b) == uuid.Nil {
		return ""
	}
	return uuid.UUID(b).String()
}

func (d *decoder) number(limit uint64) uint64 {
	if d.bad != "" {
		return 0
	}
	v, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.bad = "cut short"
		return 0
	}
	if v > limit {
		d.bad = fmt.Sprintf("number %d is over the limit of %d", v, limit)
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) text(limit int) string {
	b := d.take(int(d.number(uint64(limit))))
	if !utf8.Valid(b) {
		d.bad = "text is not valid UTF-8"
		return ""
	}
	return string(b)
}
