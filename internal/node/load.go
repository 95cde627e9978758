package node

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// loaded is a command line with everything that the environment and the configuration file add to it.
type loaded struct {
	cli      *commands
	context  *kong.Context // nil if help was printed
	sources  *sources
	problems []string // settings that cannot work, in the words of who wrote them
	unknown  []string // environment variables with our prefix that no flag reads
}

// load reads the settings. The error is that of a command line that cannot be read; what is wrong with single settings is
// in the problems, all of it.
func load(args []string, stdout, stderr io.Writer) (*loaded, error) {
	l := &loaded{cli: &commands{}, sources: &sources{}}
	helped := false
	parser, err := newParser(l.cli, l.sources, stdout, stderr, func(int) { helped = true })
	if err != nil {
		return nil, err
	}
	ctx, err := parser.Parse(args)
	if helped {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.context = ctx
	l.unknown = unknownVariables(parser.Model, os.Environ())
	l.problems = l.sources.problems
	command := ctx.Selected().Target.Addr().Interface()
	if v, ok := command.(interface{ validate() error }); ok {
		for _, err := range flatten(v.validate()) {
			l.problems = append(l.problems, l.explain(err))
		}
	}
	return l, nil
}

// explain names the setting as its author wrote it.
func (l *loaded) explain(err error) string {
	if bad, ok := err.(*invalid); ok {
		for _, flag := range l.context.Selected().Flags {
			if flag.Name == bad.flag {
				return l.sources.place(l.given(), flag) + ": " + bad.err.Error()
			}
		}
	}
	return err.Error()
}

// given are the flags of the command line.
func (l *loaded) given() map[*kong.Flag]bool {
	given := make(map[*kong.Flag]bool)
	for _, path := range l.context.Path {
		if path.Flag != nil && !path.Resolved {
			given[path.Flag] = true
		}
	}
	return given
}

// unknownVariables returns the variables with our prefix that no flag reads. They are no error for a node, because
// Kubernetes makes such ones for each service.
func unknownVariables(app *kong.Application, environ []string) []string {
	known := make(map[string]bool)
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, env := range flag.Envs {
				known[env] = true
			}
		}
		return next(nil)
	})
	var unknown []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
