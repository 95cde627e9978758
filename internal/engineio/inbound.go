package engineio

import "example.com/chorus/internal/netloop"

// typeMessage is the digit of packets that carry a message.
const typeMessage = '4'

// packet handles one packet of the current transport and says how to read on. It is called by one goroutine at a
// time: the one that handles a POST, or the one that reads the WebSocket.
func (s *Session) packet(binary bool, data []byte) netloop.Verdict {
	decode := decode4
	if s.protocol == 3 {
		decode = decode3
	}
	kind, binary, data, ok := decode(binary, data)
	if !ok {
		s.endByMistake(ParseError, errPacket)
		return netloop.Skip
	}
	switch kind {
	case typeMessage:
		if !s.heard(false) {
			return netloop.Skip
		}
		return s.message(binary, data)
	case '2', '3': // a client of protocol 4 answers pings, one of protocol 3 sends them
		if (kind == '2') != (s.protocol == 3) {
			s.endByMistake(TransportError, errHeartbeat)
			return netloop.Skip
		}
		if !s.heard(true) {
			return netloop.Skip
		}
		if kind == '2' {
			s.queuePong(pongFrame)
		}
		return netloop.Continue
	case '1':
		if s.index.Load() == polling {
			s.awaitPoll()
			s.end(TransportClose, nil, discard, noopPacket)
			return netloop.Skip
		}
	}
	if !s.heard(false) {
		return netloop.Skip
	}
	return netloop.Continue
}

// decode4 reads a packet of protocol 4. It changes data.
func decode4(binary bool, data []byte) (kind byte, _ bool, body []byte, ok bool) {
	if binary {
		return typeMessage, true, data, true
	}
	if len(data) == 0 {
		return 0, false, nil, false
	}
	if data[0] == 'b' {
		body, err := decodeBase64(data[1:])
		return typeMessage, true, body, err == nil
	}
	return data[0], false, data[1:], isType(data[0])
}

// decode3 reads a packet of protocol 3, where binary ones have a type too. It changes data.
func decode3(binary bool, data []byte) (kind byte, _ bool, body []byte, ok bool) {
	switch {
	case len(data) == 0:
		return 0, false, nil, false
	case binary:
		kind = '0' + data[0]
		return kind, true, data[1:], isType(kind)
	case data[0] != 'b':
		return data[0], false, data[1:], isType(data[0])
	case len(data) == 1:
		return 0, false, nil, false
	}
	body, err := decodeBase64(data[2:])
	return data[1], true, body, err == nil && isType(data[1])
}

func isType(c byte) bool { return '0' <= c && c <= '6' }

// message hands one message over. When the handler takes no more, reading pauses until Resume or the end.
func (s *Session) message(binary bool, data []byte) netloop.Verdict {
	seen := s.resumes.Load()
	if s.handler.Message(binary, data) {
		return netloop.Continue
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != stateOpen:
		return netloop.Skip
	case s.resumes.Load() != seen:
		return netloop.Continue
	}
	s.paused = true
	if s.index.Load() == polling {
		s.resumed = make(chan struct{})
	}
	s.beat.resumeBy = s.engine.now() + s.engine.options.InboxTimeout
	s.armLocked()
	return netloop.Pause
}

// awaitResume waits until a POST that pauses may go on, if the session lives on.
func (s *Session) awaitResume() netloop.Verdict {
	s.mu.Lock()
	resumed := s.resumed
	s.mu.Unlock()
	if resumed != nil { // else that was earlier
		<-resumed
	}
	if !s.isOpen() {
		return netloop.Skip
	}
	return netloop.Continue
}

// Resume lets reading go on after Message returned false.
func (s *Session) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumes.Add(1)
	if !s.paused {
		return
	}
	s.goOnLocked()
	s.beat.resumeBy = 0
	s.expectPongLocked()
}

// goOnLocked ends a pause of reading, if there is one.
func (s *Session) goOnLocked() {
	switch {
	case !s.paused:
	case s.resumed != nil:
		close(s.resumed)
		s.resumed = nil
	default:
		s.conn.Resume()
	}
	s.paused = false
}
