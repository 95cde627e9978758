package node

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// sources are where flags that the command line does not give get their values: the environment wins over the file,
// which wins over the default. It is a resolver of kong, which asks it for each of them.
type sources struct {
	file     *configFile // nil: none
	problems []string    // values that cannot be read
}

var _ kong.Resolver = (*sources)(nil)

// Validate implements kong.Resolver.
func (*sources) Validate(*kong.Application) error { return nil }

// readFile reads the configuration file that the command line or the environment names.
func (s *sources) readFile(name string, app *kong.Application) {
	if name != "" {
		s.file = readConfigFile(name, keys(app))
		s.problems = append(s.problems, s.file.problems...)
	}
}

// Resolve implements kong.Resolver. A value that cannot be read is noted, and the default takes its place, so that all
// of them are known at the end.
func (s *sources) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	_, text, ok := variable(flag)
	v, inFile := s.inFile(flag)
	var err error
	switch {
	case ok:
	case !inFile:
		return nil, nil
	case v.list && !flag.IsSlice():
		err = errors.New("has one value and is no list")
	default:
		text = v.text
	}
	if err == nil {
		err = readable(flag, text)
	}
	if err != nil {
		s.problems = append(s.problems, s.place(nil, flag)+": "+err.Error())
		if flag.Target.Kind() == reflect.Bool || flag.Target.Kind() == reflect.Pointer {
			return "false", nil
		}
		return flag.Default, nil
	}
	return text, nil
}

// variable returns the environment variable that gives a flag its value, if one does.
func variable(flag *kong.Flag) (name, value string, ok bool) {
	for _, name := range flag.Envs {
		if value, ok := os.LookupEnv(name); ok {
			return name, value, true
		}
	}
	return "", "", false
}

// inFile returns what the file says of a flag. One that has no variable is no setting, whatever its name.
func (s *sources) inFile(flag *kong.Flag) (fileValue, bool) {
	if s.file == nil || len(flag.Envs) == 0 {
		return fileValue{}, false
	}
	v, ok := s.file.values[keyOf(flag)]
	return v, ok
}

// readable returns what is wrong with a value, if it is no value for the flag.
func readable(flag *kong.Flag, text string) error {
	target := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Parse(kong.Scan().PushTyped(text, kong.FlagValueToken), target); err != nil {
		return form(flag, text, errors.Unwrap(err)) // without the flag's name
	}
	if flag.Enum == "" {
		return nil
	}
	items := []any{target.Interface()}
	if target.Kind() == reflect.Slice {
		items = items[:0]
		for i := range target.Len() {
			items = append(items, target.Index(i).Interface())
		}
	}
	for _, item := range items {
		if text := fmt.Sprint(item); !slices.Contains(flag.EnumSlice(), text) {
			return fmt.Errorf("must be one of %s, got %q", strings.Join(choices(flag), ", "), text)
		}
	}
	return nil
}

// form says how values of a flag are written, where kong speaks of Go's types.
func form(flag *kong.Flag, text string, err error) error {
	switch t := flag.Target.Type(); {
	case t == reflect.TypeFor[time.Duration]():
		return fmt.Errorf("%q is not a duration such as 500ms, 25s or 2m", text)
	case t.Kind() == reflect.Int && t != reflect.TypeFor[size]():
		return fmt.Errorf("%q is not a number", text)
	case flag.IsBool():
		return fmt.Errorf("%q is not true or false", text)
	}
	return err
}

// choices are the values that a flag may have, without the empty one.
func choices(flag *kong.Flag) []string {
	return slices.DeleteFunc(flag.EnumSlice(), func(choice string) bool { return choice == "" })
}

// Where a value comes from.
const (
	fromFlag        = "flag"
	fromEnvironment = "environment"
	fromFile        = "file"
	fromDefault     = "default"
)

// source tells where the value of a flag comes from; given are the flags of the command line.
func (s *sources) source(given map[*kong.Flag]bool, flag *kong.Flag) string {
	if given[flag] {
		return fromFlag
	}
	if _, _, ok := variable(flag); ok {
		return fromEnvironment
	}
	if _, ok := s.inFile(flag); ok {
		return fromFile
	}
	return fromDefault
}

// place names the value of a flag as its author wrote it.
func (s *sources) place(given map[*kong.Flag]bool, flag *kong.Flag) string {
	switch s.source(given, flag) {
	case fromEnvironment:
		name, _, _ := variable(flag)
		return name
	case fromFile:
		v, _ := s.inFile(flag)
		return fmt.Sprintf("%s:%d: %s", s.file.name, v.line, keyOf(flag))
	}
	return "--" + flag.Name
}

// keyOf returns the name of a flag in files: redis.publish-queue is redis.publish_queue.
func keyOf(flag *kong.Flag) string { return strings.ReplaceAll(flag.Name, "-", "_") }

// settingFlags are the flags of a node, in the order of their declaration: what files may have.
func settingFlags(app *kong.Application) []*kong.Flag {
	i := slices.IndexFunc(app.Children, func(n *kong.Node) bool { return n.Name == "serve" })
	return app.Children[i].Flags
}

func keys(app *kong.Application) []string {
	var keys []string
	for _, flag := range settingFlags(app) {
		keys = append(keys, keyOf(flag))
	}
	return keys
}
