package engineio

import (
	"net/http"
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

func (fs *formats) init(d *Deflate) {
	var deflater *frame.Deflater
	if d != nil {
		deflater = frame.NewDeflater(d.Threshold, d.Level)
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
// must be declined by those who cannot keep to it.
func offersDeflate(h http.Header) bool {
	for _, line := range h["Sec-Websocket-Extensions"] {
		for offer := range strings.SplitSeq(line, ",") {
			name, parameters, _ := strings.Cut(offer, ";")
			if strings.TrimSpace(name) == "permessage-deflate" && !strings.Contains(parameters, "server_max_window_bits") {
				return true
			}
		}
	}
	return false
}
