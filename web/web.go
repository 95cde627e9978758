// Package web holds what a browser gets from the program: the chat page and the bundles of the official
// Socket.IO client. The bundles are not committed; `make client` puts them into dist before the build.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed page
var pageFiles embed.FS

//go:embed all:dist
var distFiles embed.FS

// contentSecurityPolicy allows the files of this origin and its WebSocket, which 'self' covers, and nothing
// else. Trusted types make every attempt to insert a message as HTML an error.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Client returns the bundles of the official client (socket.io.js, socket.io.min.js, socket.io.esm.min.js,
// socket.io.msgpack.min.js and their .map files, each with a .gz and a .br beside it), or nil if the program
// was built without them.
func Client() fs.FS {
	if !Built() {
		return nil
	}
	dist, err := fs.Sub(distFiles, "dist")
	if err != nil {
		panic(err) // "dist" is a valid path: it is embedded above
	}
	return dist
}

// Built reports whether the client bundles are part of the program.
func Built() bool {
	_, err := fs.Stat(distFiles, "dist/socket.io.js")
	return err == nil
}

// Page returns the handler of the chat page: the page at "/", its script, style sheet and icon beside it, and
// 404 for everything else. The page loads the client from socketPath and connects to it; empty means
// "/socket.io/". It is safe for concurrent use.
func Page(socketPath string) http.Handler {
	if socketPath == "" {
		socketPath = "/socket.io/"
	}
	index := template.Must(template.ParseFS(pageFiles, "page/index.html"))
	var html bytes.Buffer
	if err := index.Execute(&html, struct{ Path string }{path.Clean("/"+socketPath) + "/"}); err != nil {
		panic(err) // the template is part of the program and writes to memory
	}
	p := page{"/": newAsset("text/html; charset=utf-8", html.Bytes())}
	for name, contentType := range map[string]string{
		"chat.css": "text/css; charset=utf-8",
		"chat.js":  "text/javascript; charset=utf-8",
		"icon.svg": "image/svg+xml",
	} {
		content, err := fs.ReadFile(pageFiles, "page/"+name)
		if err != nil {
			panic(err) // the file is embedded above
		}
		p["/"+name] = newAsset(contentType, content)
	}
	return p
}

type page map[string]asset

type asset struct {
	content     []byte
	contentType string
	etag        string
}

func newAsset(contentType string, content []byte) asset {
	sum := sha256.Sum256(content)
	return asset{content: content, contentType: contentType, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	a, ok := p[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // kept, but asked for again: a new version of the program shows at once
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
}
