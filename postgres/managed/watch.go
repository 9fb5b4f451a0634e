package managed

import (
	"os"
	"sync"
	"time"

	"github.com/pgraft/pgraft/postgres"
)

// watchEvery is how often a postmaster is looked at where the system can't tell of its end.
const watchEvery = 5 * time.Millisecond

// watcher tells of the end of one postmaster at a time.
type watcher struct {
	mu     sync.Mutex
	pid    int           // of the one that is, or was, watched last
	exited chan struct{} // closed at its end
	stop   chan struct{} // closed to end the goroutine
	file   *os.File      // its pidfd, nil where there is none
	wg     sync.WaitGroup
}

// Exited returns a channel that is closed within milliseconds of the end of the postmaster that runs now, whoever
// started it. Where none runs, it is closed already.
func (s *Server) Exited() <-chan struct{} {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	pid := s.PID()
	if pid == 0 {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	w := &s.watch
	if w.pid == pid && w.exited != nil && !isClosed(w.exited) {
		return w.exited
	}
	w.begin(pid)
	if s.PID() != pid { // it ended before it was watched, so that what is watched may be another process
		w.end()
		w.tell()
	}
	return w.exited
}

// begin watches pid in the place of what was watched before, which has ended. The caller holds mu.
func (w *watcher) begin(pid int) {
	w.end()
	w.tell()
	exited, stop := make(chan struct{}), make(chan struct{})
	w.pid, w.exited, w.stop = pid, exited, stop
	file, err := openPidfd(pid)
	if err != nil {
		w.wg.Go(func() { pollExit(pid, exited, stop) })
		return
	}
	w.file = file
	w.wg.Go(func() { waitExit(file, exited) })
}

// end ends the goroutine. The caller holds mu.
func (w *watcher) end() {
	if w.stop == nil {
		return
	}
	close(w.stop)
	if w.file != nil {
		_ = w.file.Close() // only waited on
	}
	w.wg.Wait()
	w.stop, w.file = nil, nil
}

// tell tells those who wait that the postmaster has ended. The caller holds mu, and has called end.
func (w *watcher) tell() {
	if w.exited != nil && !isClosed(w.exited) {
		close(w.exited)
	}
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
	w.pid = 0
}

// pollExit is for a system that can't tell of the end of a process that is not our child.
func pollExit(pid int, exited, stop chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if !postgres.Alive(pid) {
			close(exited)
			return
		}
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
