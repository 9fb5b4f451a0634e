package archive_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgraft/pgraft/api/archive"
)

func testMeta(state string) archive.Meta {
	return archive.Meta{
		ID: "1-7-1", Index: 7, Term: 1, Size: int64(len(state)), CreatedAt: time.Unix(1700000000, 0).UTC(),
		ClusterID: "c", ClusterName: "prod", NodeName: "n1", Pgraft: "dev",
	}
}

func writeArchive(t *testing.T, state string) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := archive.Write(&buf, testMeta(state), strings.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, state := range []string{"", "x", strings.Repeat("state ", 100000)} {
		var got bytes.Buffer
		meta, err := archive.Read(bytes.NewReader(writeArchive(t, state)), &got, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := testMeta(state)
		want.Version = archive.Version
		if meta != want || got.String() != state {
			t.Fatalf("meta %+v, %d bytes; want %+v, %d bytes", meta, got.Len(), want, len(state))
		}
	}
}

func TestWriteRefusesAStateOfAnotherSize(t *testing.T) {
	for _, size := range []int64{2, 4} {
		meta := testMeta("abc")
		meta.Size = size
		if err := archive.Write(&bytes.Buffer{}, meta, strings.NewReader("abc")); err == nil {
			t.Fatalf("size %d: no error", size)
		}
	}
}

// An archive that is cut anywhere is refused, and so is one with a changed byte unless nothing is read differently:
// the last byte of the compressed stream has bits without meaning.
func TestReadRefusesDamage(t *testing.T) {
	want := strings.Repeat("some state ", 50)
	good := writeArchive(t, want)
	accepted := 0
	for n := range len(good) {
		if _, err := archive.Verify(bytes.NewReader(good[:n])); !errors.Is(err, archive.ErrInvalid) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(good), err)
		}
	}
	for i := 10; i < len(good); i++ { // the first ten bytes are gzip's header: time, system
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		var state bytes.Buffer
		if _, err := archive.Read(bytes.NewReader(bad), &state, 0); err == nil {
			accepted++
			if state.String() != want {
				t.Fatalf("byte %d changed: another state without an error", i)
			}
		}
	}
	if accepted > 1 {
		t.Fatalf("%d changes were accepted", accepted)
	}
}

func TestReadRefusesTooLargeAState(t *testing.T) {
	_, err := archive.Read(bytes.NewReader(writeArchive(t, "12345")), &bytes.Buffer{}, 4)
	if !errors.Is(err, archive.ErrInvalid) || !strings.Contains(err.Error(), "limit") {
		t.Fatal(err)
	}
}

func FuzzRead(f *testing.F) {
	var buf bytes.Buffer
	if err := archive.Write(&buf, testMeta("state"), strings.NewReader("state")); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		var state bytes.Buffer
		meta, err := archive.Read(bytes.NewReader(data), &state, 1<<20)
		if err == nil && int64(state.Len()) != meta.Size {
			t.Fatalf("%d bytes of %d", state.Len(), meta.Size)
		}
	})
}
