package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile has the values of a YAML file by their keys, such as redis.publish_queue.
type configFile struct {
	name     string
	values   map[string]fileValue
	problems []string

	known    []string // keys that there are
	leaves   map[string]bool
	sections map[string]bool // what stands in front of their dots
}

// fileValue is what a file says of one key.
type fileValue struct {
	line int
	text string // as it would stand in a variable
	list bool   // of more or less than one item
}

// readConfigFile reads what a file says of the known keys. What is wrong with it is in its problems.
func readConfigFile(name string, known []string) *configFile {
	f := &configFile{name: name, values: make(map[string]fileValue), known: known, leaves: make(map[string]bool), sections: make(map[string]bool)}
	for _, key := range known {
		f.leaves[key] = true
		for i, c := range key {
			if c == '.' {
				f.sections[key[:i]] = true
			}
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		f.problems = append(f.problems, err.Error())
		return f
	}
	f.parse(text)
	return f
}

func (f *configFile) parse(text []byte) {
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return // empty
	} else if err != nil {
		f.problems = append(f.problems, f.name+": "+syntaxError(err))
		return
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		f.problems = append(f.problems, f.name+": has more than one document")
	}
	root := document.Content[0]
	switch {
	case root.Kind == yaml.MappingNode:
		f.section(root, "")
	case !isNull(root):
		f.problem(root, "must have keys and values, such as addr: :3000")
	}
}

// syntaxError says what is wrong with YAML. The library cites the name behind an asterisk, which may be a password
// without quotes.
func syntaxError(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(text, "unknown anchor") {
		return "a value that begins with * must be in quotes"
	}
	return text
}

func (f *configFile) problem(at *yaml.Node, format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf("%s:%d: ", f.name, at.Line)+fmt.Sprintf(format, args...))
}

// section reads the keys below a prefix. Values are never cited: they may be secrets under a misspelled key.
func (f *configFile) section(n *yaml.Node, prefix string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], dereference(n.Content[i+1])
		key := prefix + name.Value
		switch {
		case f.leaves[key]:
			f.value(name, value, key)
		case f.sections[key] && value.Kind == yaml.MappingNode:
			f.section(value, key+".")
		case f.sections[key]:
			if !isNull(value) { // all of it may be commented out
				f.problem(name, "%s: is a section, its keys are written below it", key)
			}
		default:
			hint := ""
			if near := nearest(key, f.known); near != "" {
				hint = ": did you mean " + near + "?"
			}
			f.problem(name, "%s: there is no such key%s", key, hint)
		}
	}
}

func (f *configFile) value(name, value *yaml.Node, key string) {
	if first, twice := f.values[key]; twice {
		f.problem(name, "%s: is here and in line %d", key, first.line)
		return
	}
	v := fileValue{line: name.Line}
	switch {
	case isNull(value):
		f.problem(name, "%s: has no value", key)
		return
	case value.Kind == yaml.ScalarNode:
		v.text = value.Value
	case value.Kind == yaml.SequenceNode:
		list := make([]string, len(value.Content))
		for i, item := range value.Content {
			if item = dereference(item); item.Kind != yaml.ScalarNode || isNull(item) {
				f.problem(item, "%s: is a list of plain values", key)
				return
			}
			list[i] = item.Value
		}
		v.text, v.list = kong.JoinEscaped(list, ','), len(list) != 1
	default:
		f.problem(name, "%s: has a value, and no keys below it", key)
		return
	}
	f.values[key] = v
}

// dereference returns what an alias stands for.
func dereference(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
