package managed_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pgraft/pgraft/postgres/managed"
)

func TestParseHistory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []managed.Ended
		wantErr    string
	}{
		{"none", "", nil, ""},
		{"one", "1\t0/5000148\tno recovery target specified\n", []managed.Ended{{Timeline: 1, End: 0x5000148}}, ""},
		{"comments, blank lines, no last newline", "# c\n\n1\t0/10\tx\n\n4\t1/20\tafter y",
			[]managed.Ended{{Timeline: 1, End: 0x10}, {Timeline: 4, End: 1<<32 + 0x20}}, ""},
		{"no position", "1\n", nil, "has no position"},
		{"no number", "x\t0/10\t\n", nil, "no timeline"},
		{"zero", "0\t0/10\t\n", nil, "no timeline"},
		{"no LSN", "1\tx\t\n", nil, "no slash"},
		{"timelines not rising", "2\t0/10\t\n2\t0/20\t\n", nil, "follows"},
		{"positions falling", "1\t0/20\t\n2\t0/10\t\n", nil, "follows"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := managed.ParseHistory(tt.text)
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Fatalf("error %v, want %q", err, tt.wantErr)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add("1\t0/5000148\tno recovery target specified\n")
	f.Add("# c\n\n1 0/10\n")
	f.Fuzz(func(t *testing.T, text string) {
		history, err := managed.ParseHistory(text)
		if err != nil {
			return
		}
		for i := 1; i < len(history); i++ {
			if history[i].Timeline <= history[i-1].Timeline || history[i].End < history[i-1].End {
				t.Errorf("%v is no history", history)
			}
		}
	})
}
