package node

import (
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// setting is one key with its value, and where that comes from.
type setting struct {
	key     string
	value   string // as compared, with what the file holds that it names; may be a secret
	shown   string
	items   []string // of a list; nil if it is none
	source  string   // flag, environment, file or default
	place   string   // the variable, or file and line
	reloads bool     // a running node can take it over
}

func (s *setting) isTLS() bool { return strings.HasPrefix(s.key, "tls.") }

// settings are those of the command that was loaded, in the order of their declaration.
func (l *loaded) settings() []setting {
	given := l.given()
	var all []setting
	for _, flag := range l.context.Selected().Flags {
		s := setting{
			key: keyOf(flag), value: text(flag.Target), items: items(flag.Target), reloads: flag.Tag.Has("reload"),
			source: l.sources.source(given, flag), place: l.sources.place(given, flag),
		}
		s.shown = shown(flag, s.value)
		if flag.Tag.Has("content") && s.value != "" {
			text, _ := os.ReadFile(s.value) // who uses it says that it cannot be read
			s.value += "\x00" + string(text)
		}
		all = append(all, s)
	}
	return all
}

// items are those of a list; nil if the value is none.
func items(v reflect.Value) []string {
	if v.Kind() != reflect.Slice {
		return nil
	}
	texts := make([]string, v.Len())
	for i := range texts {
		texts[i] = text(v.Index(i))
	}
	return texts
}

// text writes a value as it is read.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return text(v.Elem())
	case reflect.Slice:
		return strings.Join(items(v), ",")
	}
	return fmt.Sprint(v.Interface())
}

// hidden stands for a secret.
const hidden = "***"

// shown returns a value without secrets.
func shown(flag *kong.Flag, value string) string {
	switch {
	case value == "" || !flag.Tag.Has("secret"):
		return value
	case flag.Tag.Get("secret") != "url":
		return hidden
	}
	u, err := url.Parse(value)
	if err != nil {
		return hidden
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	q := u.Query()
	for name := range q {
		if strings.Contains(name, "password") {
			q.Set(name, hidden)
		}
	}
	u.RawQuery = q.Encode()
	return strings.ReplaceAll(u.String(), url.QueryEscape(hidden), hidden)
}
