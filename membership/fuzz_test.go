package membership_test

import (
	"testing"
	"time"

	"github.com/pgraft/pgraft/membership"
)

func FuzzDecodeTombstones(f *testing.F) {
	f.Add([]byte{1, 0})
	f.Add(append(append([]byte{1, 1, 1, 'a'}, make([]byte, 16)...), 5))
	f.Fuzz(func(t *testing.T, buf []byte) {
		if tombs, err := membership.DecodeTombstones(buf); err == nil && len(tombs) > 256 {
			t.Fatalf("%d tombstones", len(tombs))
		}
	})
}

func FuzzDecodePeers(f *testing.F) {
	f.Add([]byte(`{"version":1,"members":[{"name":"a","address":"10.0.0.1:7402","status":"left","meta":{"server_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		peers, err := membership.DecodePeers(data, time.Now())
		for _, p := range peers {
			if err != nil || p.Name == "" || !p.Address.IsValid() {
				t.Fatalf("accepted %+v, %v", p, err)
			}
		}
	})
}
