package socketio

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// bundle serves the browser client from the dist folder of the npm package socket.io-client.
type bundle struct {
	files fs.FS
	etag  string
}

// A file may lie beside its compressed forms.
var encodings = []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

const missingBundle = `The Socket.IO client is not built into this server.
Run "npm ci" in a folder with socket.io-client and set Options.Client to os.DirFS("node_modules/socket.io-client/dist").
`

func isBundleFile(name string) bool {
	switch strings.TrimSuffix(name, ".map") {
	case "socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js":
		return true
	}
	return false
}

var bannerVersion = regexp.MustCompile(`Socket\.IO v([0-9A-Za-z.+-]+)`)

// newBundle reads the client's version from its banner: the entity tag, as in Node.
func newBundle(files fs.FS) *bundle {
	b := &bundle{files: files}
	if files == nil {
		return b
	}
	text, err := fs.ReadFile(files, "socket.io.min.js")
	if err != nil {
		b.files = nil
		return b
	}
	head := text[:min(len(text), 256)]
	if m := bannerVersion.FindSubmatch(head); m != nil {
		b.etag = `"` + string(m[1]) + `"`
		return b
	}
	sum := sha256.Sum256(text)
	b.etag = `"` + hex.EncodeToString(sum[:8]) + `"`
	return b
}

func (b *bundle) serve(w http.ResponseWriter, r *http.Request, name string) {
	if b.files == nil {
		http.Error(w, missingBundle, http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("ETag", b.etag)
	h.Add("Vary", "Accept-Encoding") // beside what CORS says
	h.Set("X-Content-Type-Options", "nosniff")
	if matches(r.Header.Get("If-None-Match"), b.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, encoding, err := b.read(name, r.Header.Get("Accept-Encoding"))
	if err != nil {
		h.Del("ETag")
		http.Error(w, missingBundle, http.StatusNotFound)
		return
	}
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(name, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client went away: nobody to tell
}

// read returns the best form of the file that the client accepts.
func (b *bundle) read(name, accept string) (body []byte, encoding string, err error) {
	for _, e := range encodings {
		if !accepts(accept, e.name) {
			continue
		}
		if body, err := fs.ReadFile(b.files, name+e.suffix); err == nil {
			return body, e.name, nil
		}
	}
	body, err = fs.ReadFile(b.files, name)
	return body, "", err
}

// matches compares entity tags weakly, as If-None-Match asks (RFC 9110 section 13.1.2).
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// accepts reads Accept-Encoding (RFC 9110 section 12.5.3); a coding with q=0 is refused.
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) != coding {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !found || err == nil && weight > 0
	}
	return false
}
