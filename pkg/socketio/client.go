package socketio

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.com/chorus/internal/engineio"
)

// bundle serves the browser client from the dist folder of the npm package socket.io-client.
type bundle struct {
	files fs.FS
	etag  string
}

// form is a file in an encoding, which has a suffix.
type form struct{ encoding, suffix string }

// A file may lie beside its compressed forms. Of those that a client likes the same the first is chosen.
var encodings = []form{{"br", ".br"}, {"gzip", ".gz"}, {engineio.Identity, ""}}

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
	body, encoding, err := b.read(name, r.Header["Accept-Encoding"])
	if errors.Is(err, errNotAcceptable) {
		h.Del("ETag")
		http.Error(w, "the script is there as br, gzip or identity", http.StatusNotAcceptable)
		return
	}
	if err != nil {
		h.Del("ETag")
		http.Error(w, missingBundle, http.StatusNotFound)
		return
	}
	if encoding != engineio.Identity {
		h.Set("Content-Encoding", encoding)
	}
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(name, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client went away: nobody to tell
}

// errNotAcceptable: every form that there is was excluded.
var errNotAcceptable = errors.New("no acceptable encoding")

// read returns the form of the file that the client likes best.
func (b *bundle) read(name string, accept []string) (body []byte, encoding string, err error) {
	codings := engineio.ParseCodings(accept)
	forms := slices.Clone(encodings)
	slices.SortStableFunc(forms, func(x, y form) int { return cmp.Compare(codings.Weight(y.encoding), codings.Weight(x.encoding)) })
	for _, f := range forms {
		if codings.Weight(f.encoding) == 0 {
			break
		}
		if body, err := fs.ReadFile(b.files, name+f.suffix); err == nil {
			return body, f.encoding, nil
		}
	}
	if _, err := fs.Stat(b.files, name); err != nil {
		return nil, "", err
	}
	return nil, "", errNotAcceptable
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
