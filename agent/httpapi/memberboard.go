package httpapi

import (
	"sync"

	"github.com/pgraft/pgraft/api"
)

// MemberBoard is a MemberSource that its owner sets anew with each change. Its zero value is an empty first view.
type MemberBoard struct {
	mu      sync.Mutex // guards the rest
	index   uint64
	members []api.Member
	changed chan struct{} // closed by Set; nil until somebody asks
}

// Set publishes a view and wakes those who wait for one. The slice is the board's from then on. It never blocks.
func (b *MemberBoard) Set(members []api.Member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.index++
	b.members = members
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Members implements MemberSource.
func (b *MemberBoard) Members() (uint64, []api.Member, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.index + 1, b.members, b.changed
}
