package engineio

import (
	"encoding/binary"
	"net/http"
	"time"
)

// packed is a handshake in one piece of memory, since every session keeps one and few are ever asked for it: the
// header of a request takes five times the room.
type packed struct {
	texts  string // each behind its length
	time   int64  // ns since 1970
	secure bool
}

// pack keeps what a request says.
func pack(r *http.Request, query map[string]string) packed {
	b := make([]byte, 0, 512)
	for _, text := range [...]string{r.RequestURI, r.Host, r.RemoteAddr} {
		b = appendText(b, text)
	}
	b = binary.AppendUvarint(b, uint64(len(query)))
	for key, value := range query {
		b = appendText(appendText(b, key), value)
	}
	for name, values := range r.Header {
		b = binary.AppendUvarint(appendText(b, name), uint64(len(values)))
		for _, value := range values {
			b = appendText(b, value)
		}
	}
	return packed{texts: string(b), time: time.Now().UnixNano(), secure: r.TLS != nil}
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// unpack makes a handshake of its own for the caller.
func (p *packed) unpack() *Handshake {
	rest := unpacking(p.texts)
	h := &Handshake{URL: rest.text(), Host: rest.text(), RemoteAddr: rest.text(), Secure: p.secure, Time: time.Unix(0, p.time)}
	n := rest.number()
	h.Query = make(map[string]string, n)
	for range n {
		key := rest.text()
		h.Query[key] = rest.text()
	}
	h.Header = make(http.Header)
	for len(rest) > 0 {
		name := rest.text()
		values := make([]string, rest.number())
		for i := range values {
			values[i] = rest.text()
		}
		h.Header[name] = values
	}
	return h
}

// unpacking is what pack wrote, from a position on.
type unpacking string

func (u *unpacking) number() int {
	var n uint64
	for shift := 0; ; shift += 7 {
		c := (*u)[0]
		*u = (*u)[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int(n)
		}
	}
}

func (u *unpacking) text() string {
	n := u.number()
	text := (*u)[:n]
	*u = (*u)[n:]
	return string(text)
}
