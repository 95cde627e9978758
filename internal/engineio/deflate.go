package engineio

import (
	"maps"
	"net/http"
	"strconv"
	"strings"

	"example.com/chorus/internal/frame"
)

// formats has every format in which WebSockets take frames.
type formats [8]*frame.Format

const (
	formatRevision3 = 1 << iota
	formatBase64
	formatDeflate
)

// init takes who is told of each message that was compressed, by the part of its size that was left.
func (fs *formats) init(d *Deflate, told func(ratio float64)) {
	var deflater *frame.Deflater
	if d != nil {
		deflater = frame.NewDeflater(d.Threshold, d.Level, told)
	}
	for i := range fs {
		f := &frame.Format{Revision3: i&formatRevision3 != 0, Base64: i&formatBase64 != 0}
		if i&formatDeflate != 0 {
			f.Deflater = deflater
		}
		fs[i] = f
	}
	fs[0] = nil // the plain one
}

func (fs *formats) of(q *query, deflated bool) *frame.Format {
	i := 0
	if q.protocol == 3 {
		i |= formatRevision3
	}
	if q.base64 {
		i |= formatBase64
	}
	if deflated {
		i |= formatDeflate
	}
	return fs[i]
}

// offersDeflate says whether a client offers a permessage-deflate that is done as gorilla does it: nothing is
// known about the past, and the window is whole. RFC 7692 section 7.1: an offer that limits the server's window
// must be declined by those who cannot keep to it, as must one that nobody can understand.
func offersDeflate(h http.Header) bool {
	for _, line := range h["Sec-Websocket-Extensions"] {
		for offer := range strings.SplitSeq(line, ",") {
			if isDeflate(offer) {
				return true
			}
		}
	}
	return false
}

func isDeflate(offer string) bool {
	parameters := strings.Split(offer, ";")
	if strings.TrimSpace(parameters[0]) != "permessage-deflate" {
		return false
	}
	named := make(map[string]bool)
	for _, p := range parameters[1:] {
		name, value, valued := strings.Cut(strings.TrimSpace(p), "=")
		ok := false
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			ok = !valued
		case "client_max_window_bits":
			ok = !valued || isWindow(strings.Trim(value, `"`))
		}
		if !ok || named[name] {
			return false
		}
		named[name] = true
	}
	return true
}

func isWindow(bits string) bool {
	n, err := strconv.Atoi(bits)
	return err == nil && 8 <= n && n <= 15 && strconv.Itoa(n) == bits
}

// offerDeflate replaces the offers of a request by one that gorilla takes up: it reads them in its own way, and what
// is written must be what was agreed upon.
func offerDeflate(r *http.Request) *http.Request {
	c := *r
	c.Header = maps.Clone(r.Header)
	c.Header["Sec-Websocket-Extensions"] = []string{"permessage-deflate"}
	return &c
}
