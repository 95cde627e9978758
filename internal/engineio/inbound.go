package engineio

// typeMessage is the digit of packets that carry a message.
const typeMessage = '4'

// packet handles one packet of the current transport and says whether to read on. It is called by one
// goroutine at a time: the one that handles a POST, or the reader of the WebSocket.
func (s *Session) packet(binary bool, data []byte) bool {
	decode := decode4
	if s.protocol == 3 {
		decode = decode3
	}
	kind, binary, data, ok := decode(binary, data)
	if !ok {
		s.endByMistake(ParseError, errPacket)
		return false
	}
	switch kind {
	case typeMessage:
		return s.heard(false) && s.message(binary, data)
	case '2', '3': // a client of protocol 4 answers pings, one of protocol 3 sends them
		if (kind == '2') != (s.protocol == 3) {
			s.endByMistake(TransportError, errHeartbeat)
			return false
		}
		if !s.heard(true) {
			return false
		}
		if kind == '2' {
			s.queuePong(pongFrame)
		}
		return true
	case '1':
		if s.index.Load() == polling {
			s.awaitPoll()
			s.end(TransportClose, nil, discard, noopPacket)
			return false
		}
	}
	return s.heard(false)
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

// message hands one message over and waits while the handler takes no more.
func (s *Session) message(binary bool, data []byte) bool {
	seen := s.resumes.Load()
	if s.handler.Message(binary, data) {
		return true
	}
	s.mu.Lock()
	if s.state != stateOpen || s.resumes.Load() != seen {
		defer s.mu.Unlock()
		return s.state == stateOpen
	}
	resumed := make(chan struct{})
	s.resumed = resumed
	s.beat.resumeBy = s.engine.now() + s.engine.options.InboxTimeout
	s.armLocked()
	s.mu.Unlock()
	<-resumed
	return s.isOpen()
}

// Resume lets reading go on after Message returned false.
func (s *Session) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumes.Add(1)
	if s.resumed == nil {
		return
	}
	close(s.resumed)
	s.resumed = nil
	s.beat.resumeBy = 0
	s.expectPongLocked()
}
