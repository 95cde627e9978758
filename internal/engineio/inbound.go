package engineio

// packet handles one packet of the current transport and says whether to read on. It is called by one
// goroutine at a time: the one that handles a POST, or the reader of the WebSocket.
func (s *Session) packet(binary bool, data []byte) bool {
	if binary {
		return s.heard(false) && s.message(true, data)
	}
	if len(data) == 0 {
		s.end(ParseError, errPacket, flush, nil)
		return false
	}
	switch data[0] {
	case '4':
		return s.heard(false) && s.message(false, data[1:])
	case 'b':
		decoded, err := decodeBase64(data[1:])
		if err != nil {
			break
		}
		return s.heard(false) && s.message(true, decoded)
	case '3':
		return s.heard(true)
	case '2':
		s.end(TransportError, errHeartbeat, flush, nil)
		return false
	case '1':
		if s.index.Load() == polling {
			s.end(TransportClose, nil, discard, noopPacket)
			return false
		}
		return s.heard(false)
	case '0', '5', '6':
		return s.heard(false)
	}
	s.end(ParseError, errPacket, flush, nil)
	return false
}

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
