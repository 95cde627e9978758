// Package image_test builds what deploy/Dockerfile says, as far as that works without containers.
package image_test

import (
	"bytes"
	"debug/elf"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const (
	root       = "../../.."
	dockerfile = "../../Dockerfile"
)

// parse reads the Dockerfile as BuildKit does; what its linter says is an error.
func parse(t *testing.T) []instructions.Stage {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{
		Warn: func(rule, _, _, message string, at []parser.Range) {
			t.Errorf("Dockerfile:%d: %s: %s", at[0].Start.Line, rule, message)
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// of returns the commands of one type of a stage.
func of[T instructions.Command](s instructions.Stage) (found []T) {
	for _, c := range s.Commands {
		if c, ok := c.(T); ok {
			found = append(found, c)
		}
	}
	return found
}

func TestImage(t *testing.T) {
	stages := parse(t)
	last := stages[len(stages)-1]
	if user := of[*instructions.UserCommand](last); len(user) != 1 || !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(user[0].User) {
		t.Errorf("USER %v, want one that is a number and not root", user)
	}
	if len(of[*instructions.RunCommand](last)) > 0 || !strings.Contains(last.BaseName, "/static") {
		t.Error("the last stage has a shell, or needs one")
	}
	built := carryOut(t, stages, root, ignoreFile(t, dockerfile+".dockerignore"))
	image := built[last.Name]
	entrypoint := of[*instructions.EntrypointCommand](last)[0].CmdLine
	program := image.inside(entrypoint[0])
	testStatic(t, program)
	testRevision(t, program)
	testBundle(t, built["program"].inside("web/dist"))

	check := of[*instructions.HealthCheckCommand](last)[0].Health.Test
	if check[0] != "CMD" || check[1] != entrypoint[0] {
		t.Errorf("HEALTHCHECK %q, which needs a shell or another program", check)
	}
	testHealth(t, program, of[*instructions.CmdCommand](last)[0].CmdLine, check[2:], image.env)
}

// testHealth starts the program as the image does, at addresses of its own, and asks for its health as Docker does.
func testHealth(t *testing.T, program string, args, check, env []string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	env = append(slices.Clone(env), "CHORUS_ADDR=127.0.0.1:0", "CHORUS_INTERNAL_ADDR="+free.Addr().String())
	free.Close()
	healthy := func() (string, error) {
		cmd := exec.Command(program, check...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := healthy(); err == nil {
		t.Errorf("healthy before it runs: %s", out)
	}
	server := exec.Command(program, args...)
	server.Env = env
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill() // has ended, if the test failed
		_ = server.Wait()         // says that it was killed
	}()
	deadline := time.Now().Add(time.Minute)
	for {
		out, err := healthy()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not healthy after a minute: %v\n%s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// testStatic checks that a program needs nothing of the image it is in.
func testStatic(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is linked dynamically: it has %s", p.Type)
		}
	}
}

// testRevision checks that the program knows of which commit it is, if this is a repository.
func testRevision(t *testing.T, program string) {
	t.Helper()
	if info, err := os.Stat(filepath.Join(root, ".git")); err != nil || !info.IsDir() {
		return // an archive of the sources
	}
	out, err := exec.Command(program, "version").CombinedOutput()
	if err != nil || !regexp.MustCompile(`revision [0-9a-f]{12}`).Match(out) {
		t.Errorf("chorus version: %q, %v, want a revision", out, err)
	}
}

// testBundle checks that the client's bundle was there when the program was compiled.
func testBundle(t *testing.T, dist string) {
	t.Helper()
	for _, name := range []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"} {
		if info, err := os.Stat(filepath.Join(dist, name)); err != nil || info.Size() < 10_000 {
			t.Errorf("the client's bundle: %v, %v", info, err)
		}
	}
}
