package node

import (
	"sync"

	"torrente/peerwire"
	"torrente/swarm"
)

// maxMail is how many messages of peers wait for a torrent at a time. When it
// is full, readers wait, and so do their peers.
const maxMail = 4096

// kind is what an event tells.
type kind uint8

const (
	received kind = iota // message of peer
	sent                 // count blocks of bytes bytes, and heavy messages, went to peer
	verified             // verdict of a worker
	call                 // do
)

// event is what happened, in one concrete struct: no allocation a block.
type event struct {
	kind    kind
	peer    swarm.PeerID
	count   int
	bytes   int64
	heavy   int
	message peerwire.Message
	verdict swarm.Verdict
	do      func()
}

// mailbox takes events from many goroutines and gives them to one, all at
// once.
type mailbox struct {
	wake chan struct{} // holds a token when there is mail

	mu     sync.Mutex // guards the following
	mail   []event
	spare  []event
	room   sync.Cond
	closed bool
}

func newMailbox() *mailbox {
	m := &mailbox{wake: make(chan struct{}, 1)}
	m.room.L = &m.mu
	return m
}

// post adds events from inside: it never waits, so that the torrent's own
// workers and writers cannot block it. It reports false when the torrent is
// gone.
func (m *mailbox) post(events ...event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(events)
}

// postWaiting adds events of a peer; it waits while the mailbox is full.
func (m *mailbox) postWaiting(events ...event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.mail) >= maxMail && !m.closed {
		m.room.Wait()
	}
	return m.add(events)
}

func (m *mailbox) add(events []event) bool {
	if m.closed {
		return false
	}
	first := len(m.mail) == 0
	m.mail = append(m.mail, events...)
	if first && len(events) > 0 {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take gives all the mail; it is valid until the next take.
func (m *mailbox) take() []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	mail := m.mail
	clear(m.spare)
	m.mail, m.spare = m.spare[:0], mail
	m.room.Broadcast()
	return mail
}

// close refuses further mail, and returns what was left.
func (m *mailbox) close() []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.room.Broadcast()
	return m.mail
}
