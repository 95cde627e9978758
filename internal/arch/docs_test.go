package arch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// imported are the packages that code of the documentation may use without importing them.
var imported = map[string]string{
	"adapter":      "example.com/chorus/pkg/adapter",
	"adaptertest":  "example.com/chorus/pkg/adapter/adaptertest",
	"context":      "context",
	"errors":       "errors",
	"fmt":          "fmt",
	"forward":      "example.com/chorus/pkg/socketio/forward",
	"http":         "net/http",
	"httptest":     "net/http/httptest",
	"json":         "encoding/json",
	"log":          "log",
	"os":           "os",
	"parser":       "example.com/chorus/pkg/socketio/parser",
	"prometheus":   "github.com/prometheus/client_golang/prometheus",
	"promhttp":     "github.com/prometheus/client_golang/prometheus/promhttp",
	"promsio":      "example.com/chorus/pkg/socketio/promsio",
	"redis":        "github.com/redis/go-redis/v9",
	"redisadapter": "example.com/chorus/pkg/adapter/redisadapter",
	"regexp":       "regexp",
	"signal":       "os/signal",
	"siotest":      "example.com/chorus/pkg/socketio/siotest",
	"slog":         "log/slog",
	"socketio":     "example.com/chorus/pkg/socketio",
	"strings":      "strings",
	"synctest":     "testing/synctest",
	"testing":      "testing",
	"time":         "time",
}

// scope is what statements of the documentation may use without declaring it. They may also return an error.
const scope = "ctx context.Context, o *socketio.Options, io *socketio.Server, chat *socketio.Namespace, s *socketio.Socket, " +
	"args socketio.Args"

// The Go code of the documentation compiles as it stands there: programs as such; declarations of a page together, as one
// package; statements each in a function.
func TestDocumentedCodeCompiles(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string) // of the overlay: where the go command sees it -> where it is
	dir := t.TempDir()
	withCode := 0
	for _, file := range documentation(t) {
		page, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := goBlocks(t, root, page)
		if len(blocks) > 0 {
			withCode++
		}
		pkg := filepath.Join(root, "docs", "code_"+strings.NewReplacer("/", "_", ".md", "").Replace(filepath.ToSlash(page)))
		for _, b := range blocks {
			source, program := b.source(t)
			name := fmt.Sprintf("line%d.go", b.line)
			seen := filepath.Join(pkg, name)
			if program {
				seen = filepath.Join(pkg, fmt.Sprintf("line%d", b.line), "main.go")
			}
			files[seen] = filepath.Join(dir, fmt.Sprintf("%d.go", len(files)))
			if err := os.WriteFile(files[seen], source, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if withCode < 3 {
		t.Errorf("found Go code on %d pages", withCode)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	packages := make(map[string]bool)
	for seen := range files {
		packages[filepath.Dir(seen)] = true
	}
	build := exec.Command("go", append([]string{"build", "-overlay", file}, slices.Sorted(maps.Keys(packages))...)...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("go build: %v\n%s", err, out)
	}
}

// block is fenced Go code of a page.
type block struct {
	page string
	line int // of its first line
	code string
}

func goBlocks(t *testing.T, root, page string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	line := 1
	for part := range strings.SplitSeq("\n"+string(text), "\n```") {
		if code, ok := strings.CutPrefix(part, "go\n"); ok {
			blocks = append(blocks, block{page: page, line: line, code: code + "\n"})
		}
		line += strings.Count(part, "\n") + 1
	}
	return blocks
}

// source makes a file of a block. program says that it was one already.
func (b block) source(t *testing.T) (source []byte, program bool) {
	t.Helper()
	if formatted, err := format.Source([]byte(b.code)); err == nil && string(formatted) != b.code {
		t.Errorf("%s:%d: not formatted as gofmt does", b.page, b.line)
	}
	if code, ok := strings.CutPrefix(b.code, "package main\n"); ok {
		return fmt.Appendf(nil, "package program\n//line %s:%d\n%s", b.page, b.line+1, code), true // not main: nothing is to be linked
	}
	before, after := "package code\n", ""
	if _, err := parser.ParseFile(token.NewFileSet(), "", before+b.code, 0); err != nil {
		before, after = before+"func _("+scope+") error {\n", "return nil\n}\n"
	}
	text := before + fmt.Sprintf("//line %s:%d\n", b.page, b.line) + b.code + after
	file, err := parser.ParseFile(token.NewFileSet(), "", text, 0)
	if err != nil {
		t.Errorf("%v", err)
		return []byte("package code\n"), false
	}
	imports := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && imported[x.Name] != "" {
				imports[imported[x.Name]] = true
			}
		}
		return true
	})
	var out bytes.Buffer
	rest := strings.TrimPrefix(text, "package code\n")
	out.WriteString("package code\n")
	for _, path := range slices.Sorted(maps.Keys(imports)) {
		fmt.Fprintf(&out, "import %q\n", path)
	}
	out.WriteString(rest)
	return out.Bytes(), false
}
