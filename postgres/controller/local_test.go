package controller_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/pgraft/pgraft/fsm/primacy"
	"github.com/pgraft/pgraft/postgres/controller"
	"github.com/pgraft/pgraft/postgres/wal"
)

func TestLocalSurvives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := controller.LoadLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.Memory == "" || first.Promised != 0 {
		t.Fatalf("a new record is %+v", first)
	}
	if again, err := controller.LoadLocal(dir); err != nil || again.Memory != first.Memory {
		t.Fatalf("read again: %+v, %v", again, err)
	}
	want := controller.Local{
		Memory: "m", Fingerprint: "f", Mark: "k", Promised: 7, Following: 6, Timelines: map[wal.Timeline]uint64{1: 1, 3: 6},
		Position: primacy.Position{Epoch: 6, LSN: 0x1234}, Seen: primacy.Position{Epoch: 6, LSN: 0x1235}, Promoting: 7, Unconfirmed: true, Spoiled: "s",
		Work: &controller.Work{Kind: controller.WorkClone, Epoch: 7, Copied: true, Why: "w"},
	}
	if err := controller.SaveLocal(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := controller.LoadLocal(dir); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestLocalRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "{", "{}", "[]", `{"promised":-1,"memory":"m"}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "postgres.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := controller.LoadLocal(dir); err == nil {
			t.Errorf("%q was read as %+v", content, l)
		}
	}
}
