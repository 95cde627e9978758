package image_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// stage is a stage of the Dockerfile that is carried out in a folder instead of a container: with the programs of this
// machine, and nothing of the repository but what was copied.
type stage struct {
	root    string // the folder that stands for /
	workdir string
	env     []string
}

// carryOut does what the stages say, one after the other, and returns them by name; the last one is "".
func carryOut(t *testing.T, stages []instructions.Stage, context string, ignored *patternmatcher.PatternMatcher) map[string]*stage {
	t.Helper()
	done := make(map[string]*stage)
	for _, s := range stages {
		st := &stage{root: t.TempDir(), workdir: "/", env: environment(t)}
		for _, command := range s.Commands {
			st.do(t, command, context, ignored, done)
		}
		done[s.Name] = st
	}
	return done
}

// environment is that of a container: of this machine's settings only those that say where downloads come from and are kept.
func environment(t *testing.T) []string {
	t.Helper()
	env := []string{"GOENV=off"} // has flags, perhaps
	for _, name := range []string{"PATH", "HOME", "npm_config_registry", "npm_config_cache"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		env = append(env, names[i]+"="+value)
	}
	return env
}

func (s *stage) do(t *testing.T, command instructions.Command, context string, ignored *patternmatcher.PatternMatcher, done map[string]*stage) {
	t.Helper()
	switch c := command.(type) {
	case *instructions.WorkdirCommand:
		s.workdir = c.Path
		if err := os.MkdirAll(s.inside(""), 0o755); err != nil {
			t.Fatal(err)
		}
	case *instructions.CopyCommand:
		for _, source := range c.SourcePaths {
			target := s.inside(c.DestPath)
			if from := done[c.From]; from != nil {
				copyTree(t, from.inside(source), target, strings.HasSuffix(c.DestPath, "/"), nil)
			} else if c.From != "" {
				t.Fatalf("%s: no stage %s", command, c.From)
			} else {
				copyTree(t, filepath.Join(context, source), target, strings.HasSuffix(c.DestPath, "/"), func(file string) bool {
					name, err := filepath.Rel(context, file)
					if err != nil {
						t.Fatal(err)
					}
					out, err := ignored.MatchesOrParentMatches(name)
					if err != nil {
						t.Fatal(err)
					}
					return out && name != "."
				})
			}
		}
	case *instructions.RunCommand:
		t.Logf("RUN %s", strings.Join(c.CmdLine, " "))
		run := exec.Command("/bin/sh", "-c", strings.Join(c.CmdLine, " "))
		run.Dir, run.Env = s.inside(""), s.env
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	case *instructions.EnvCommand:
		for _, e := range c.Env {
			s.env = append(s.env, e.Key+"="+e.Value)
		}
	case *instructions.ArgCommand:
		for _, a := range c.Args { // those of BuildKit
			value, ok := map[string]string{"TARGETOS": runtime.GOOS, "TARGETARCH": runtime.GOARCH}[a.Key]
			if !ok {
				t.Fatalf("%s: nothing gives it a value", command)
			}
			s.env = append(s.env, a.Key+"="+value)
		}
	case *instructions.UserCommand, *instructions.ExposeCommand, *instructions.HealthCheckCommand, *instructions.StopSignalCommand,
		*instructions.EntrypointCommand, *instructions.CmdCommand: // of the container, not of the build
	default:
		t.Fatalf("%s: this test cannot do that", command)
	}
}

// inside returns where a path of the stage is in truth.
func (s *stage) inside(name string) string {
	if !path.IsAbs(name) {
		name = path.Join(s.workdir, name)
	}
	return filepath.Join(s.root, filepath.FromSlash(name))
}

// copyTree copies a file, into the target if that is a folder, or what is in a folder.
func copyTree(t *testing.T, source, target string, intoFolder bool, skip func(string) bool) {
	t.Helper()
	info, err := os.Stat(source)
	if err != nil {
		t.Fatalf("COPY: %v", err)
	}
	if existing, err := os.Stat(target); !info.IsDir() && (intoFolder || err == nil && existing.IsDir()) {
		target = filepath.Join(target, filepath.Base(source))
	}
	err = filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(target, strings.TrimPrefix(file, source))
		switch {
		case skip != nil && skip(file):
			if entry.IsDir() && filepath.Base(filepath.Dir(file)) != "web" { // in web/dist a file is wanted all the same
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(to, 0o755)
		case entry.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(file)
			if err != nil {
				return err
			}
			return os.Symlink(link, to)
		}
		return copyFile(file, to)
	})
	if err != nil {
		t.Fatalf("COPY %s: %v", source, err)
	}
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// ignoreFile reads what is not sent to the builder.
func ignoreFile(t *testing.T, name string) *patternmatcher.PatternMatcher {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return matcher
}
