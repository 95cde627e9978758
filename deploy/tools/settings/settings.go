// Package settings asks the program which settings it knows.
package settings

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Program is the program, built from the tree that this module is in.
type Program struct {
	path string
}

// Build compiles the program into dir; root is the root of the repository.
func Build(root, dir string) (*Program, error) {
	path, err := filepath.Abs(filepath.Join(dir, "chorus"))
	if err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-o", path, "./cmd/node")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return &Program{path: path}, nil
}

// run runs the program with these variables alone.
func (p *Program) run(env []string, args ...string) (string, error) {
	cmd := exec.Command(p.path, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("chorus %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Check lets the program check the settings of a node: the arguments of `chorus serve`, and variables as NAME=VALUE.
// An unknown one is an error.
func (p *Program) Check(args, env []string) error {
	_, err := p.run(append([]string{"PATH=" + os.Getenv("PATH")}, env...), append([]string{"config", "check"}, args...)...)
	return err
}

var inHelp = regexp.MustCompile(`\$(CHORUS_[A-Z0-9_]+)`)

// Variables returns the environment variables that the program knows.
func (p *Program) Variables() (map[string]bool, error) {
	known := make(map[string]bool)
	for _, command := range []string{"serve", "demo", "emit"} {
		help, err := p.run(nil, command, "--help")
		if err != nil {
			return nil, err
		}
		for _, m := range inHelp.FindAllStringSubmatch(help, -1) {
			known[m[1]] = true
		}
	}
	return known, nil
}

// Doctor returns what the program finds on this machine, whether it is content or not.
func (p *Program) Doctor() (string, error) {
	cmd := exec.Command(p.path, "doctor")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		return "", err
	}
	return string(out), nil
}

// DrainTimeout returns how long a node takes to end at most, by default.
func (p *Program) DrainTimeout() (time.Duration, error) {
	help, err := p.run(nil, "serve", "--help")
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`--drain\.timeout=(\S+)`).FindStringSubmatch(help)
	if m == nil {
		return 0, errors.New("chorus serve --help has no --drain.timeout")
	}
	return time.ParseDuration(m[1])
}
