package web_test

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"example.com/chorus/web"
)

func do(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPageFiles(t *testing.T) {
	h := web.Page("")
	for target, contentType := range map[string]string{
		"/":         "text/html; charset=utf-8",
		"/?a=b":     "text/html; charset=utf-8",
		"/chat.css": "text/css; charset=utf-8",
		"/chat.js":  "text/javascript; charset=utf-8",
		"/icon.svg": "image/svg+xml",
	} {
		t.Run(target, func(t *testing.T) {
			resp := do(t, h, http.MethodGet, target)
			content := body(t, resp)
			if resp.StatusCode != http.StatusOK || content == "" {
				t.Fatalf("GET %s: status %d with %d bytes, want 200 with content", target, resp.StatusCode, len(content))
			}
			for name, want := range map[string]string{
				"Content-Type":           contentType,
				"X-Content-Type-Options": "nosniff",
				"Cache-Control":          "no-cache",
				"Referrer-Policy":        "no-referrer",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("GET %s: %s is %q, want %q", target, name, got, want)
				}
			}
			head := do(t, h, http.MethodHead, target)
			if got := body(t, head); head.StatusCode != http.StatusOK || got != "" || head.ContentLength != int64(len(content)) {
				t.Errorf("HEAD %s: status %d, %d bytes, length %d, want 200, none, %d", target, head.StatusCode, len(got), head.ContentLength, len(content))
			}
		})
	}
}

func TestPageIsRevalidated(t *testing.T) {
	h := web.Page("")
	first := do(t, h, http.MethodGet, "/")
	etag := first.Header.Get("ETag")
	if !regexp.MustCompile(`^"[0-9a-f]{16}"$`).MatchString(etag) {
		t.Fatalf("ETag is %q, want 16 hex digits in quotes", etag)
	}
	again := do(t, h, http.MethodGet, "/", "If-None-Match", etag)
	if got := body(t, again); again.StatusCode != http.StatusNotModified || got != "" {
		t.Errorf("with the ETag: status %d and %d bytes, want 304 and none", again.StatusCode, len(got))
	}
	if other := do(t, web.Page("/elsewhere/"), http.MethodGet, "/").Header.Get("ETag"); other == etag {
		t.Errorf("pages of two paths have the same ETag %s", etag)
	}
}

func TestPageRefuses(t *testing.T) {
	h := web.Page("")
	for _, test := range []struct {
		method, target string
		status         int
	}{
		{http.MethodPost, "/", http.StatusMethodNotAllowed},
		{http.MethodDelete, "/chat.js", http.StatusMethodNotAllowed},
		{http.MethodGet, "/index.html", http.StatusNotFound},
		{http.MethodGet, "/page/chat.js", http.StatusNotFound},
		{http.MethodGet, "/../web.go", http.StatusNotFound},
		{http.MethodPost, "/nothing", http.StatusNotFound},
	} {
		resp := do(t, h, test.method, test.target)
		if resp.StatusCode != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.target, resp.StatusCode, test.status)
		}
		if test.status == http.StatusMethodNotAllowed && resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: Allow is %q", test.method, test.target, resp.Header.Get("Allow"))
		}
	}
}

func TestPageFollowsTheSocketPath(t *testing.T) {
	for given, want := range map[string]string{
		"":             "/socket.io/",
		"/socket.io/":  "/socket.io/",
		"/socket.io":   "/socket.io/",
		"live":         "/live/",
		"/a/b/":        "/a/b/",
		"//evil.test/": "/evil.test/",
		`/"><b>/`:      "/&#34;&gt;&lt;b&gt;/",
	} {
		html := body(t, do(t, web.Page(given), http.MethodGet, "/"))
		if attribute := `data-path="` + want + `"`; !strings.Contains(html, attribute) {
			t.Errorf("Page(%q) has no %s:\n%s", given, attribute, html)
		}
		if strings.Contains(html, "<b>") {
			t.Errorf("Page(%q) lets the path become markup", given)
		}
		if given == "live" && !strings.Contains(html, `src="/live/socket.io.min.js"`) {
			t.Errorf("Page(%q) does not load the client from there", given)
		}
	}
}

// The page must work under its own policy: nothing from elsewhere, nothing inline, no message as HTML.
func TestPageIsSelfContained(t *testing.T) {
	h := web.Page("")
	resp := do(t, h, http.MethodGet, "/")
	policy := resp.Header.Get("Content-Security-Policy")
	for _, directive := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'",
		"form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
	} {
		if !strings.Contains(policy+";", directive+";") {
			t.Errorf("the policy lacks %s: %s", directive, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("the policy is not strict: %s", policy)
	}

	html := body(t, resp)
	for what, pattern := range map[string]string{
		"an inline script":        `<script[^>]*>[^<]`,
		"a script without source": `<script(\s+defer)?>`,
		"an inline style":         `<style|\sstyle=`,
		"an inline handler":       `\son[a-z]+=`,
	} {
		if found := regexp.MustCompile(pattern).FindString(html); found != "" {
			t.Errorf("the page has %s: %s", what, found)
		}
	}
	external := regexp.MustCompile(`(https?:|wss?:)?//[a-z][^\s"']*`)
	for _, target := range []string{"/", "/chat.css", "/chat.js", "/icon.svg"} {
		content := body(t, do(t, h, http.MethodGet, target))
		for _, url := range external.FindAllString(content, -1) {
			if url != "http://www.w3.org/2000/svg" { // a name, not an address
				t.Errorf("%s refers to %s", target, url)
			}
		}
	}
	script := body(t, do(t, h, http.MethodGet, "/chat.js"))
	for _, sink := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("} {
		if strings.Contains(script, sink) {
			t.Errorf("chat.js uses %s", sink)
		}
	}
	for _, part := range []string{`<ul id="messages">`, `<form`, `id="m"`, `>Send</button>`} {
		if !strings.Contains(html, part) {
			t.Errorf("the page lacks the tutorial's %s", part)
		}
	}
}

// The bundles are there or not, depending on the build; Built, Client and the folder must agree.
func TestClient(t *testing.T) {
	_, err := os.Stat("dist/socket.io.js")
	if built := err == nil; web.Built() != built {
		t.Fatalf("Built() = %v, want %v as in dist", web.Built(), built)
	}
	client := web.Client()
	if !web.Built() {
		if client != nil {
			t.Errorf("Client() = %v without bundles, want nil", client)
		}
		return
	}
	for _, name := range []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"} {
		for _, file := range []string{name, name + ".map", name + ".gz", name + ".br", name + ".map.gz", name + ".map.br"} {
			info, err := fs.Stat(client, file)
			if err != nil {
				t.Errorf("Client() lacks %s: %v", file, err)
			} else if info.Size() < 1000 {
				t.Errorf("%s has %d bytes", file, info.Size())
			}
		}
	}
}
