package engineio

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/chorus/internal/frame"
)

func TestPreferredEncoding(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                    "",
		"identity":                            "",
		"br":                                  "",
		"gzip":                                "gzip",
		"GZip":                                "gzip",
		"gzip, deflate, br":                   "gzip",
		"deflate, gzip":                       "deflate",
		"deflate;q=0.5, gzip;q=0.8":           "gzip",
		"deflate ; Q=0.9 , gzip;q=0.8":        "deflate",
		"gzip;q=0":                            "",
		"gzip;q=0, *":                         "deflate",
		"*":                                   "gzip",
		"*;q=0":                               "",
		"*;q=0.1, deflate;q=0.5":              "deflate",
		"gzip;q=x":                            "",
		"gzip;q=7":                            "",
		"gzip;q=NaN":                          "",
		"gzip;q=-1":                           "",
		"identity;q=1, gzip;q=0.5":            "gzip",
		"gzip;level=1;q=0.5, deflate;q=0.400": "gzip",
	} {
		if got := preferredEncoding([]string{accept}); got != want {
			t.Errorf("preferredEncoding(%q) = %q, want %q", accept, got, want)
		}
	}
	if got := preferredEncoding([]string{"br", "deflate"}); got != "deflate" {
		t.Errorf("two lines: %q", got)
	}
	if got := preferredEncoding(nil); got != "" {
		t.Errorf("no line: %q", got)
	}
}

// fetch polls with an Accept-Encoding and returns the body as it came and inflated.
func fetch(t *testing.T, url, accept string) (header http.Header, wire int, body string) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	req.Header.Set("Accept-Encoding", accept)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	count := &counter{r: res.Body}
	var r io.Reader = count
	switch res.Header.Get("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(count)
	case "deflate":
		r, err = zlib.NewReader(count)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return res.Header, count.n, string(b)
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

func TestHTTPCompression(t *testing.T) {
	large := strings.Repeat("x", defaultThreshold-1)
	for name, tc := range map[string]struct {
		o        HTTPCompression
		accept   string
		frames   []*frame.Frame
		encoding string
	}{
		"gzip":                {HTTPCompression{}, "gzip, deflate", []*frame.Frame{text(large)}, "gzip"},
		"deflate":             {HTTPCompression{}, "deflate, gzip", []*frame.Frame{text(large)}, "deflate"},
		"together":            {HTTPCompression{}, "gzip", []*frame.Frame{text(large[:500]), text(large[:522])}, "gzip"},
		"below the threshold": {HTTPCompression{}, "gzip", []*frame.Frame{text(large[1:])}, ""},
		"own threshold":       {HTTPCompression{Threshold: 10}, "gzip", []*frame.Frame{text(large[:9])}, "gzip"},
		"no threshold":        {HTTPCompression{Threshold: -1}, "gzip", []*frame.Frame{text("")}, "gzip"},
		"not accepted":        {HTTPCompression{}, "br", []*frame.Frame{text(large)}, ""},
		"disabled":            {HTTPCompression{Disabled: true}, "gzip", []*frame.Frame{text(large)}, ""},
		"uncompressed":        {HTTPCompression{}, "gzip", []*frame.Frame{text(large).Uncompressed()}, ""},
		"one may be":          {HTTPCompression{}, "gzip", []*frame.Frame{text(large).Uncompressed(), text("small")}, "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, func(o *Options) { o.HTTPCompression = tc.o })
			url, c := openPolling(t, e, e.server(t).URL)
			var want []string
			for _, f := range tc.frames {
				want = append(want, string(f.Polling()))
				_ = c.session.Send(f, false)
			}
			waitUntil(t, func() bool { return e.Stats().Flushes[polling] == 1 }) // the handshake's answer is counted
			before := e.Stats().BytesOut[polling]
			header, wire, body := fetch(t, url, tc.accept)
			if body != strings.Join(want, "\x1e") {
				t.Errorf("body has %d bytes", len(body))
			}
			if got := header.Get("Content-Encoding"); got != tc.encoding {
				t.Errorf("Content-Encoding = %q, want %q", got, tc.encoding)
			}
			if (header.Get("Content-Length") == "") != (tc.encoding != "") {
				t.Errorf("Content-Length = %q", header.Get("Content-Length"))
			}
			if tc.encoding != "" && len(body) > 100 && wire > 200 {
				t.Errorf("%d bytes on the wire", wire)
			}
			waitUntil(t, func() bool { return e.Stats().BytesOut[polling] == before+uint64(wire) })
			req, _ := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader("4"+large))
			req.Header.Set("Accept-Encoding", "gzip")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != 200 || res.Header.Get("Content-Encoding") != "" || res.ContentLength != 2 {
				t.Errorf("POST: %d, %v", res.StatusCode, res.Header)
			}
		})
	}
}

// Writers are shared between those who compress, also over HTTP/2.
func TestCompressingAtOnce(t *testing.T) {
	e := newEngine(t, nil)
	s := httptest.NewUnstartedServer(e)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	old := http.DefaultClient
	http.DefaultClient = s.Client()
	t.Cleanup(func() { http.DefaultClient = old })
	var wg sync.WaitGroup
	for i := range 20 {
		url, c := openPolling(t, e, s.URL)
		wg.Go(func() {
			for n := range 20 {
				want := strings.Repeat(string(rune('a'+i)), 2000+n)
				_ = c.session.Send(text(want), false)
				if _, _, body := fetch(t, url, []string{"gzip", "deflate"}[n%2]); body != "4"+want {
					t.Errorf("session %d: %d bytes, want %d", i, len(body), len(want)+1)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSqueeze(b *testing.B) {
	var s squeezer
	p := &payload{}
	p.add(slices.Repeat([]byte(`42["chat message",{"from":"a","text":"hello"}]`), 100))
	b.ReportAllocs()
	for b.Loop() {
		s.free(s.squeeze("gzip", p))
	}
}
