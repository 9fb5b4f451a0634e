package membership_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pgraft/pgraft/membership"
)

func largestMeta() membership.Meta {
	return membership.Meta{
		RaftAddress:     strings.Repeat("r", membership.MaxAddressLen),
		HTTPAddress:     strings.Repeat("h", membership.MaxAddressLen),
		PostgresAddress: strings.Repeat("p", membership.MaxAddressLen),
		Version:         strings.Repeat("v", membership.MaxVersionLen),
		Zone:            strings.Repeat("z", membership.MaxZoneLen),
		Protocol:        1 << 16, Expect: 1 << 16, NonVoting: true, Witness: true, Leaving: true,
		ServerID: uuid.NewString(), ClusterID: uuid.NewString(),
		Started: time.UnixMilli(1<<48 - 1).UTC(),
	}
}

func TestMetaLargestFits(t *testing.T) {
	want := largestMeta()
	buf, err := membership.EncodeMeta(want)
	if err != nil {
		t.Fatal(err)
	}
	if len(buf) > membership.MaxMetaSize {
		t.Errorf("the largest metadata has %d bytes, the limit is %d", len(buf), membership.MaxMetaSize)
	}
	got, err := membership.DecodeMeta(buf)
	if err != nil || got != want {
		t.Errorf("read back %+v, %v; want %+v", got, err, want)
	}
	if got, err := membership.DecodeMeta(append(buf, "a later version's field"...)); err != nil || got != want {
		t.Errorf("with more behind it: %+v, %v", got, err)
	}
}

func TestMetaIsRefused(t *testing.T) {
	cases := map[string]struct {
		change func(*membership.Meta)
		want   string
	}{
		"LongAddress":   {func(m *membership.Meta) { m.RaftAddress += "x" }, "raft address is 121 bytes long, the limit is 120"},
		"LongZone":      {func(m *membership.Meta) { m.Zone += "x" }, "zone is 65 bytes long"},
		"LongVersion":   {func(m *membership.Meta) { m.Version += "x" }, "version is 33 bytes long"},
		"NoUTF8":        {func(m *membership.Meta) { m.Zone = "\xff" }, "zone is not valid UTF-8"},
		"Negative":      {func(m *membership.Meta) { m.Expect = -1 }, "bootstrap_expect is -1"},
		"Huge":          {func(m *membership.Meta) { m.Protocol = math.MaxInt }, "protocol is"},
		"NoServerID":    {func(m *membership.Meta) { m.ServerID = "" }, "server id"},
		"ZeroServerID":  {func(m *membership.Meta) { m.ServerID = uuid.Nil.String() }, "zero UUID"},
		"BadClusterID":  {func(m *membership.Meta) { m.ClusterID = "prod" }, `cluster id "prod": it must be a UUID`},
		"TwoAtOnceRead": {func(m *membership.Meta) { m.Zone += "x"; m.Version += "x" }, "zone is 65"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := largestMeta()
			c.change(&m)
			if _, err := membership.EncodeMeta(m); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestMetaCutShortIsRefused(t *testing.T) {
	buf, err := membership.EncodeMeta(largestMeta())
	if err != nil {
		t.Fatal(err)
	}
	for n := range buf {
		if _, err := membership.DecodeMeta(buf[:n]); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(buf))
		}
	}
	buf[0]++
	if _, err := membership.DecodeMeta(buf); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("another version: %v", err)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	largest, err := membership.EncodeMeta(largestMeta())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(largest)
	f.Add(largest[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, buf []byte) {
		m, err := membership.DecodeMeta(buf)
		if err != nil {
			return
		}
		again, err := membership.EncodeMeta(m)
		if err != nil {
			t.Fatalf("what was read can't be written: %+v: %v", m, err)
		}
		if len(again) > membership.MaxMetaSize {
			t.Fatalf("%d bytes", len(again))
		}
		if got, err := membership.DecodeMeta(again); err != nil || got != m {
			t.Fatalf("read %+v, read back %+v, %v", m, got, err)
		}
	})
}
