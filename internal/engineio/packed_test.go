package engineio

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func TestPackedHandshake(t *testing.T) {
	r := httptest.NewRequest("GET", "/engine.io/?EIO=4&transport=polling&a=&a=2", nil)
	r.RemoteAddr = "[::1]:80"
	r.Header = http.Header{
		"Cookie": {strings.Repeat("x", 300), "", "b"}, "Empty": {}, "lower case": {"\x00\n"},
	}
	query := map[string]string{"EIO": "4", "transport": "polling", "a": "2", "": ""}
	p := pack(r, query)
	r.Header["Cookie"][0] = "changed later"
	h := p.unpack()
	want := http.Header{"Cookie": {strings.Repeat("x", 300), "", "b"}, "Empty": {}, "lower case": {"\x00\n"}}
	if !reflect.DeepEqual(h.Header, want) || !reflect.DeepEqual(h.Query, query) {
		t.Errorf("header %v, query %v", h.Header, h.Query)
	}
	if h.URL != r.RequestURI || h.Host != "example.com" || h.RemoteAddr != "[::1]:80" || h.Secure || h.Time.IsZero() {
		t.Errorf("%+v", h)
	}
	h.Header.Set("Cookie", "the caller's")
	if p.unpack().Header.Get("Cookie") == "the caller's" {
		t.Error("callers share a header")
	}
	none := pack(&http.Request{}, nil)
	if h := none.unpack(); len(h.Header) != 0 || len(h.Query) != 0 || h.URL != "" {
		t.Errorf("of nothing: %+v", h)
	}
}

func BenchmarkHandshake(b *testing.B) {
	p := pack(webSocketRequest(), map[string]string{"EIO": "4", "transport": "websocket"})
	b.ReportAllocs()
	for b.Loop() {
		p.unpack()
	}
}
func webSocketRequest() *http.Request {
	r := httptest.NewRequest("GET", "/engine.io/?EIO=4&transport=websocket", nil)
	for _, h := range upgradeHeaders {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
	return r
}
