package fsm

import "time"

// termAt returns the term of the entry at index, 0 where the feed does not know it.
func (f *Feed) termAt(index uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	start, ok := f.after(index)
	if !ok {
		return 0
	}
	if start == 0 {
		return f.baseTerm
	}
	return f.changes[start-1].Term
}

// behind returns how many entries a copy that is at index lacks, and for how long the oldest of them has been here. Where
// the feed no longer reaches back, it has been for longer than the feed can tell.
func (f *Feed) behind(index uint64) (entries uint64, age time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index >= f.last() {
		return 0, 0
	}
	start, ok := f.after(index)
	if !ok {
		since := f.since
		if len(f.changes) > 0 {
			since = f.changes[0].at
		}
		return f.last() - index, time.Since(since)
	}
	return uint64(len(f.changes) - start), time.Since(f.changes[start].at)
}
