package membership

import (
	"sync/atomic"
	"time"
)

// EventType names what happened to a member.
type EventType string

// The event types.
const (
	EventJoin     EventType = "join"
	EventFail     EventType = "failed"
	EventLeave    EventType = "leave"
	EventUpdate   EventType = "update"   // its metadata or its address changed
	EventConflict EventType = "conflict" // somebody was refused; Message says who and why
)

// Event is one thing that happened, for the log. What is true now is in Members.
type Event struct {
	Type    EventType
	Time    time.Time
	Member  Member // of a conflict: the one whose place was claimed, if there is one
	Message string
}

const eventBuffer = 256

// notifier hands events out and never waits for who takes them: it is called with memberlist's node lock held.
type notifier struct {
	events  chan Event
	changed chan struct{}
	dropped atomic.Uint64
}

func newNotifier() *notifier {
	return &notifier{events: make(chan Event, eventBuffer), changed: make(chan struct{}, 1)}
}

func (n *notifier) emit(e Event) {
	select {
	case n.events <- e:
	default:
		n.dropped.Add(1)
	}
	n.touch()
}

func (n *notifier) touch() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}
