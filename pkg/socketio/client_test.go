package socketio_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"example.com/chorus/pkg/socketio"
)

func TestClientBundle(t *testing.T) {
	dist := fstest.MapFS{
		"socket.io.min.js":     {Data: []byte("/*! Socket.IO v4.8.4 */ plain")},
		"socket.io.min.js.br":  {Data: []byte("brotli")},
		"socket.io.min.js.map": {Data: []byte("{}")},
		"secret.txt":           {Data: []byte("no")},
	}
	_, with := start(t, &socketio.Options{Client: dist})
	_, without := start(t, nil)
	get := func(url string, header ...string) (int, string, http.Header) {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		req.Header.Set("Accept-Encoding", "identity")
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), resp.Header
	}
	file := with.URL + "/socket.io/socket.io.min.js"
	code, body, h := get(file + "?x=1")
	if code != 200 || body != "/*! Socket.IO v4.8.4 */ plain" || h.Get("ETag") != `"4.8.4"` ||
		h.Get("Content-Type") != "application/javascript; charset=utf-8" || h.Get("Vary") != "Accept-Encoding" {
		t.Errorf("bundle = %d %q %v", code, body, h)
	}
	if code, body, h := get(file, "Accept-Encoding", "gzip, br;q=0.5"); code != 200 || body != "brotli" || h.Get("Content-Encoding") != "br" {
		t.Errorf("compressed bundle = %d %q %v", code, body, h)
	}
	if _, body, _ := get(file, "Accept-Encoding", "br;q=0"); body == "brotli" {
		t.Error("br;q=0 was answered with brotli")
	}
	if code, body, _ := get(file, "If-None-Match", `W/"4.8.4"`); code != 304 || body != "" {
		t.Errorf("If-None-Match = %d %q, want 304", code, body)
	}
	if _, _, h := get(file + ".map"); h.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("map has type %q", h.Get("Content-Type"))
	}
	if code, body, _ := get(with.URL + "/socket.io/secret.txt"); code != 400 || !strings.Contains(body, `"code":0`) {
		t.Errorf("another file = %d %q, want the engine's 400", code, body)
	}
	if code, body, _ := get(without.URL + "/socket.io/socket.io.js"); code != 404 || !strings.Contains(body, "Options.Client") {
		t.Errorf("missing bundle = %d %q", code, body)
	}
}

// What CORS says of caches must not be lost: an answer for one origin is none for another.
func TestClientBundleVariesByOrigin(t *testing.T) {
	dist := fstest.MapFS{"socket.io.min.js": {Data: []byte("/*! Socket.IO v4.8.4 */")}}
	_, front := start(t, &socketio.Options{Client: dist, CORS: &socketio.CORS{Origins: []string{"https://a.example"}}})
	resp, err := http.Get(front.URL + "/socket.io/socket.io.min.js")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if vary := strings.Join(resp.Header.Values("Vary"), ", "); vary != "Origin, Accept-Encoding" {
		t.Errorf("Vary: %s", vary)
	}
}

// The form is chosen by the client's weights; of equals the smallest.
func TestClientBundleEncoding(t *testing.T) {
	const script = "socket.io.js"
	all := fstest.MapFS{script: {Data: []byte("identity")}, script + ".br": {Data: []byte("br")}, script + ".gz": {Data: []byte("gzip")},
		"socket.io.min.js": {Data: []byte("/*! Socket.IO v4.8.4 */")}}
	plain := fstest.MapFS{script: all[script], "socket.io.min.js": all["socket.io.min.js"]}
	_, every := start(t, &socketio.Options{Client: all})
	_, one := start(t, &socketio.Options{Client: plain})
	for _, tt := range []struct {
		accept     []string // nil: no header
		want, bare string   // with and without compressed forms; 406 is a refusal
	}{
		{nil, "identity", "identity"},
		{[]string{""}, "identity", "identity"},
		{[]string{"gzip, deflate, br, zstd"}, "br", "identity"},
		{[]string{"br;q=0.5, gzip;q=0.8"}, "gzip", "identity"},
		{[]string{"gzip;q=0.8", "BR ; Q=0.9"}, "br", "identity"},
		{[]string{"x-gzip"}, "gzip", "identity"},
		{[]string{"br;q=0"}, "identity", "identity"},
		{[]string{"br;q=0, *"}, "gzip", "identity"},
		{[]string{"*"}, "br", "identity"},
		{[]string{"*;q=0"}, "406", "406"},
		{[]string{"*;q=0, identity;q=0.1"}, "identity", "identity"},
		{[]string{"gzip, *;q=0"}, "gzip", "406"},
		{[]string{"gzip, identity;q=0"}, "gzip", "406"},
		{[]string{"identity;q=0"}, "406", "406"},
		{[]string{"identity, gzip;q=0.5, br;q=0.5"}, "identity", "identity"},
		{[]string{"identity;q=0.1, gzip;q=0.001"}, "identity", "identity"},
		{[]string{"deflate, zstd"}, "identity", "identity"},
		{[]string{"br;q=2, gzip;q=nan, ,;q=1"}, "identity", "identity"},
	} {
		for url, want := range map[string]string{every.URL: tt.want, one.URL: tt.bare} {
			req, _ := http.NewRequest(http.MethodGet, url+"/socket.io/"+script, nil)
			req.Header["Accept-Encoding"] = tt.accept
			resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			got, encoding := string(body), resp.Header.Get("Content-Encoding")
			if resp.StatusCode != http.StatusOK {
				got = strconv.Itoa(resp.StatusCode)
			}
			if got != want || encoding != map[string]string{"br": "br", "gzip": "gzip"}[want] || resp.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q: %s with encoding %q, Vary %q; want %s", tt.accept, got, encoding, resp.Header.Get("Vary"), want)
			}
		}
	}
}
