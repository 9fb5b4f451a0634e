package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// tellAfter is how long a pipeline is quiet before its server is told what became committed.
const tellAfter = 5 * time.Millisecond

// pipeline is raft's pipeline of entries to one server, which tells the server soon what is committed. raft leaves that
// to the next entries or, when none come, to a timer that fires as often when nothing has happened at all: short, and
// an idle leader pays for it, or long, and each server's PostgreSQL is as far behind. So the timer is long
// (Config.CommitTimeout), and runTell does its work: some milliseconds after the last entries, once.
//
// What it sends is what raft's timer would: a request without entries, behind the last entry sent, with the commit
// index. It is right under three conditions, and tell sees to them:
//
//   - The index is a leader's of the request's term. A deposed leader may have learnt a commit index from its
//     successor, which says nothing of entries of the old term; so leadership in the term is asked for after the index.
//   - The index is not above the last entry sent on this connection, which the server has if it accepts the request:
//     raft cuts the index to the server's last entry, and behind what was sent there may be an older leader's.
//   - The order on the connection is the order in which the lock was taken.
type pipeline struct {
	raft.AppendPipeline
	commit func(term uint64) (index uint64, leading bool)
	sent   chan struct{} // has a value when there was an entry
	done   chan struct{}
	closed sync.Once
	wg     sync.WaitGroup

	mu   sync.Mutex // held while a request is sent; guards the rest
	last sentRequest
}

// sentRequest is what tell has to know of the last request.
type sentRequest struct {
	at        time.Time
	header    raft.RPCHeader
	term      uint64
	end       uint64 // index of the last entry that the server has when it accepts the request
	endTerm   uint64
	committed uint64 // as the request said
}

func newPipeline(inner raft.AppendPipeline, limit time.Duration, commit func(term uint64) (uint64, bool)) *pipeline {
	p := &pipeline{AppendPipeline: inner, commit: commit, sent: make(chan struct{}, 1), done: make(chan struct{})}
	p.wg.Go(func() { p.runTell(limit) })
	return p
}

// AppendEntries sends raft's own requests.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	future, err := p.AppendPipeline.AppendEntries(args, resp)
	if err != nil {
		return nil, err
	}
	p.remember(args)
	if len(args.Entries) > 0 {
		select {
		case p.sent <- struct{}{}:
		default:
		}
	}
	return future, nil
}

// remember must be called with mu held. It keeps no entry, which may be large.
func (p *pipeline) remember(args *raft.AppendEntriesRequest) {
	p.last = sentRequest{
		at: time.Now(), header: args.RPCHeader, term: args.Term,
		end: args.PrevLogEntry, endTerm: args.PrevLogTerm, committed: args.LeaderCommitIndex,
	}
	if n := len(args.Entries); n > 0 {
		p.last.end, p.last.endTerm = args.Entries[n-1].Index, args.Entries[n-1].Term
	}
}

// Close closes the connection, which ends a request that hangs as well.
func (p *pipeline) Close() error {
	p.closed.Do(func() { close(p.done) })
	err := p.AppendPipeline.Close()
	p.wg.Wait()
	return err
}

// runTell waits for entries, and then until the server knows that they are committed. If a quorum takes as long as
// limit for them, raft's own timer has taken over.
func (p *pipeline) runTell(limit time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.sent:
		case <-p.done:
			return
		}
		for pause := tellAfter; 0 < pause && pause < limit; pause = p.tell(pause) {
			timer.Reset(pause)
			select {
			case <-timer.C:
			case <-p.done:
				return
			}
		}
	}
}

// tell sends the commit index if the last entries were some time ago, and says when to look again; 0 = no more, as the
// server knows all that it was sent to be committed.
func (p *pipeline) tell(waited time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if quiet := time.Since(p.last.at); quiet < tellAfter {
		return tellAfter // entries flow: the next ones say it
	}
	commit, leading := p.commit(p.last.term)
	if !leading {
		return 0
	}
	commit = min(commit, p.last.end)
	if commit > p.last.committed {
		args := &raft.AppendEntriesRequest{
			RPCHeader: p.last.header, Term: p.last.term,
			PrevLogEntry: p.last.end, PrevLogTerm: p.last.endTerm, LeaderCommitIndex: commit,
		}
		if _, err := p.AppendPipeline.AppendEntries(args, new(raft.AppendEntriesResponse)); err != nil {
			return 0 // raft finds out by its next request, or by the end of the answers
		}
		p.remember(args)
	}
	if commit == p.last.end {
		return 0
	}
	return 2 * waited
}
