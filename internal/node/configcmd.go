package node

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// configCommands are about the settings of a node.
type configCommands struct {
	Check configCheckCommand `cmd:"" help:"Say what is wrong with the settings, if anything is."`
	Print configPrintCommand `cmd:"" help:"Print all settings with the source of each, without secrets, in the form of a configuration file."`
	Docs  configDocsCommand  `cmd:"" help:"Print the table of settings in Markdown: docs/configuration.md."`
}

type configCheckCommand struct{ settings }

func (*configCheckCommand) tellsProblems() {}

// Run says what is wrong, all of it. A variable that no flag reads is an error here: it may be a misspelled one.
func (*configCheckCommand) Run(p *process) error {
	problems := p.loaded.problems
	for _, name := range p.loaded.unknown {
		hint := ""
		if near := nearest(name, p.loaded.variables()); near != "" {
			hint = ": did you mean " + near + "?"
		}
		problems = append(problems, name+": no flag reads this variable"+hint)
	}
	if len(problems) > 0 {
		return usageError{errors.New(strings.Join(problems, "\n"+program+": "))}
	}
	_, err := fmt.Fprintln(p.stdout, "the settings are good")
	return err
}

// variables are those of the settings.
func (l *loaded) variables() []string {
	var names []string
	for _, flag := range l.context.Selected().Flags {
		names = append(names, flag.Envs...)
	}
	return names
}

type configPrintCommand struct{ settings }

// Run prints what is in force. Where a setting depends on others, what comes of it is printed.
func (c *configPrintCommand) Run(p *process) error {
	c.Adapter = c.adapterName()
	recovers := c.recovers()
	c.Recovery.Enabled = &recovers
	return printSettings(p, p.loaded.settings())
}

func printSettings(p *process, settings []setting) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range settings {
		section, name := root, s.key
		for prefix, rest, nested := strings.Cut(name, "."); nested; prefix, rest, nested = strings.Cut(name, ".") {
			section, name = child(section, prefix), rest
		}
		origin := s.source
		if s.source != fromDefault {
			origin += " " + s.place
		}
		value := scalar(s.shown)
		if s.items != nil {
			value = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, item := range s.items {
				value.Content = append(value.Content, scalar(item))
			}
		}
		value.LineComment = origin
		section.Content = append(section.Content, scalar(name), value)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(root), encoder.Close()); err != nil {
		return err
	}
	_, err := p.stdout.Write(out.Bytes())
	return err
}

// child returns the section of a name, and adds it if there is none.
func child(section *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(section.Content); i += 2 {
		if section.Content[i].Value == name {
			return section.Content[i+1]
		}
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	section.Content = append(section.Content, scalar(name), n)
	return n
}

func scalar(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if text == "" || n.ShortTag() == "!!null" { // a text all the same
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
