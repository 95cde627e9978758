// Package arch checks that the tree keeps to its architecture.
package arch

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "example.com/chorus"

// Modules of others that packages may use.
const (
	gorilla    = "github.com/gorilla/websocket"
	goRedis    = "github.com/redis/go-redis/v9"
	prometheus = "github.com/prometheus/client_golang"
	promModel  = "github.com/prometheus/client_model"
	msgp       = "github.com/tinylib/msgp"
	kong       = "github.com/alecthomas/kong"
	humanize   = "github.com/dustin/go-humanize"
	miniredis  = "github.com/alicebob/miniredis/v2"
	timeRate   = "golang.org/x/time"
	rsCORS     = "github.com/rs/cors"
	yaml       = "go.yaml.in/yaml/v3"
)

// allowed lists for each package what it may import besides the standard library. The key "a/..." stands for
// a and everything below it, unless a longer key fits.
var allowed = map[string][]string{
	"cmd/node":                 {"internal/node"},
	"internal/node":            {"pkg/socketio", "pkg/socketio/promsio", "pkg/socketio/forward", "pkg/adapter", "pkg/adapter/redisadapter", "internal/doctor", "web", goRedis, prometheus, kong, humanize, miniredis, yaml},
	"pkg/socketio":             {"pkg/adapter", "pkg/socketio/parser", "internal/engineio", "internal/netloop", "internal/outbox", "internal/binaryjson", "internal/frame", "internal/rooms", "internal/histogram", timeRate, rsCORS},
	"pkg/socketio/parser":      {msgp},
	"pkg/socketio/siotest":     {"pkg/socketio", "pkg/socketio/parser"},
	"pkg/socketio/promsio":     {"pkg/socketio", "pkg/socketio/forward", "pkg/adapter", "internal/histogram", "internal/netloop", prometheus, promModel},
	"pkg/socketio/forward":     {"pkg/adapter", timeRate},
	"pkg/adapter":              {"pkg/socketio/parser"},
	"pkg/adapter/adaptertest":  {"pkg/adapter", "internal/cluster"},
	"pkg/adapter/redisadapter": {"pkg/adapter", "internal/epoll", "internal/binaryjson", "pkg/socketio/parser", "internal/cluster", goRedis, msgp, timeRate},
	"internal/doctor":          {},
	"internal/cluster":         {"pkg/adapter"},
	"internal/engineio":        {"internal/outbox", "internal/frame", "internal/netloop", "internal/histogram", "internal/wsread", gorilla},
	"internal/netloop":         {"internal/outbox", "internal/frame", "internal/histogram", "internal/epoll"},
	"internal/epoll":           {},
	"internal/wsread":          {gorilla},
	"internal/outbox":          {"internal/frame"},
	"internal/binaryjson":      {"pkg/socketio/parser"},
	"internal/frame":           {},
	"internal/histogram":       {},
	"internal/rooms":           {},
	"web":                      {},
	"loadtest/...":             {"loadtest/...", "internal/epoll", "pkg/socketio", "pkg/adapter", "pkg/adapter/redisadapter", goRedis, gorilla, kong},
	"test/...":                 {"pkg/socketio", "pkg/socketio/parser", "pkg/socketio/promsio", "pkg/adapter", "pkg/adapter/redisadapter", "web", goRedis, prometheus},
}

// unreachable lists what a package must not depend on, not even through others.
var unreachable = map[string][]string{
	"pkg/socketio":             {goRedis, prometheus, kong, miniredis},
	"pkg/adapter/redisadapter": {"pkg/socketio", prometheus, gorilla},
	"pkg/adapter":              {goRedis, prometheus, gorilla},
}

// pkg is what the go command knows of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func TestImports(t *testing.T) {
	used := make(map[string]bool)
	packages := list(t)
	if len(packages) < 5 {
		t.Fatalf("go list found %d packages, want the whole module", len(packages))
	}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		key, rules := rulesFor(name)
		if key == "" {
			t.Errorf("%s has no rule: say in this test what it may import", name)
			continue
		}
		used[key] = true
		for _, imported := range p.Imports {
			imported, ours := strings.CutPrefix(imported, module+"/")
			if (ours || !isStandard(imported)) && !coveredByAny(rules, imported) {
				t.Errorf("%s imports %s, which the architecture does not allow", name, imported)
			}
		}
		for _, dep := range p.Deps {
			if dep = strings.TrimPrefix(dep, module+"/"); coveredByAny(unreachable[name], dep) {
				t.Errorf("%s depends on %s through others, which the architecture does not allow", name, dep)
			}
		}
	}
	for key := range allowed {
		if !used[key] {
			t.Errorf("rule for %s fits no package: remove it", key)
		}
	}
}

// What packages import is required as such: who reads go.mod sees what the library needs.
func TestRequirements(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var indirect []string
	for line := range strings.Lines(string(mod)) {
		if requirement, ok := strings.CutSuffix(strings.TrimSpace(line), "// indirect"); ok {
			indirect = append(indirect, strings.Fields(requirement)[0])
		}
	}
	for _, p := range list(t) {
		for _, imported := range p.Imports {
			if coveredByAny(indirect, imported) {
				t.Errorf("%s imports %s, which go.mod calls indirect: run go mod tidy", p.ImportPath, imported)
			}
		}
	}
}

// rulesFor returns the longest key that fits a package, and its rules.
func rulesFor(name string) (key string, rules []string) {
	for k, r := range allowed {
		if covers(k, name) && len(k) > len(key) {
			key, rules = k, r
		}
	}
	return key, rules
}

func coveredByAny(rules []string, name string) bool {
	return slices.ContainsFunc(rules, func(rule string) bool { return covers(rule, name) })
}

// covers reports whether a rule is about a package: one of ours exactly, or with all below it if the rule ends
// in "/...", and a module of others with all its packages.
func covers(rule, name string) bool {
	tree, whole := strings.CutSuffix(rule, "/...")
	whole = whole || !isStandard(rule)
	return name == tree || whole && strings.HasPrefix(name, tree+"/")
}

// isStandard reports whether the first element of an import is no host name, as in the standard library.
func isStandard(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !strings.Contains(first, ".")
}

// list returns all packages of the module.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var packages []pkg
	for decoder := json.NewDecoder(out); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath != module+"/internal/arch" { // has no code but this test
			packages = append(packages, p)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return packages
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// maxLines is the length of a file that still fits in one head.
const maxLines = 600

func TestFileLength(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || path != root(t) && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		files++
		if n := lines(t, path); n > maxLines {
			t.Errorf("%s has %d lines, want at most %d", path, n, maxLines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("no Go file found")
	}
}

func lines(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		n++
	}
	return n
}
