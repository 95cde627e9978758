package engineio

import "time"

// Trace has functions that the engine calls; nil ones are skipped. They must return quickly.
type Trace struct {
	Closed     func(transport string, reason Reason, age time.Duration)
	Opened     func(transport string, d time.Duration)   // a handshake was answered, so long after it came
	Upgraded   func(to string, d time.Duration)          // a session changed its transport, so long after the new one was accepted
	Pong       func(transport string, rtt time.Duration) // a client of protocol 4 answered a ping
	Compressed func(transport string, ratio float64)     // what was left of a message, or of an answer, that was compressed
}

func (t *Trace) opened(transport int, came time.Time) {
	if t.Opened != nil {
		t.Opened(transportNames[transport], time.Since(came))
	}
}

func (t *Trace) upgraded(d time.Duration) {
	if t.Upgraded != nil {
		t.Upgraded(transportNames[webSocket], d)
	}
}

func (t *Trace) pong(transport uint32, rtt time.Duration) {
	if t.Pong != nil {
		t.Pong(transportNames[transport], rtt)
	}
}

// compressed returns Compressed for one transport.
func (t *Trace) compressed(transport int) func(ratio float64) {
	return func(ratio float64) {
		if t.Compressed != nil {
			t.Compressed(transportNames[transport], ratio)
		}
	}
}
