package node

import (
	_ "embed"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// docsIntroduction is what the page of settings says before its tables.
//
//go:embed configdocs.md
var docsIntroduction string

type configDocsCommand struct{}

// Run prints the page.
func (configDocsCommand) Run(p *process) error {
	return writeDocs(p.stdout, p.loaded.context.Model)
}

func writeDocs(w io.Writer, app *kong.Application) error {
	var b strings.Builder
	b.WriteString(docsIntroduction)
	var group *kong.Group
	for _, flag := range byGroup(settingFlags(app)) {
		if group == nil || group.Key != flag.Group.Key {
			group = flag.Group
			fmt.Fprintf(&b, "\n## %s\n\n| Key | Values | Default | Meaning |\n|---|---|---|---|\n", group.Title)
		}
		meaning := flag.Help
		if flag.Tag.Has("reload") {
			meaning += " *Reloaded on SIGHUP.*"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", keyOf(flag), valuesOf(flag), code(flag.Default), strings.ReplaceAll(meaning, "|", `\|`))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// byGroup brings flags of one group together, in the order in which the groups appear.
func byGroup(flags []*kong.Flag) []*kong.Flag {
	var order []string
	groups := make(map[string][]*kong.Flag)
	for _, flag := range flags {
		if groups[flag.Group.Key] == nil {
			order = append(order, flag.Group.Key)
		}
		groups[flag.Group.Key] = append(groups[flag.Group.Key], flag)
	}
	var sorted []*kong.Flag
	for _, key := range order {
		sorted = append(sorted, groups[key]...)
	}
	return sorted
}

// valuesOf says what a flag may be.
func valuesOf(flag *kong.Flag) string {
	list := ""
	if flag.IsSlice() {
		list = "list of "
	}
	if flag.Enum != "" {
		return list + "`" + strings.Join(choices(flag), "`, `") + "`"
	}
	t := flag.Target.Type()
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return list + "duration"
	case t == reflect.TypeFor[size]():
		return list + "size"
	case t == reflect.TypeFor[network]():
		return list + "networks"
	case t.Kind() == reflect.Bool:
		return "`true`, `false`"
	case t.Kind() == reflect.Int:
		return list + "number"
	case flag.PlaceHolder == "FILE", flag.PlaceHolder == "DIR":
		return "path"
	}
	return strings.TrimSuffix(list+"text", " ")
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
