package parser_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/chorus/pkg/socketio/parser"
)

func TestCheckJSON(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, test := range []struct {
		name, text string
		want       error
	}{
		{"array", ` ["a",{"b":1}] `, nil},
		{"scalar", `1`, nil},
		{"empty", ``, parser.ErrInvalidPayload},
		{"cut off", `["a"`, parser.ErrInvalidPayload},
		{"two values", `1 2`, parser.ErrInvalidPayload},
		{"deep", nested(parser.MaxDepth), nil},
		{"too deep", nested(parser.MaxDepth + 1), parser.ErrTooDeep},
		{"brackets in a string", `"` + nested(parser.MaxDepth+1) + `"`, nil},
		{"beyond what the decoder of the standard library takes", nested(20_000), parser.ErrInvalidPayload},
	} {
		if err := parser.CheckJSON([]byte(test.text)); !errors.Is(err, test.want) {
			t.Errorf("%s: CheckJSON = %v, want %v", test.name, err, test.want)
		}
	}
}

func TestCheckEvent(t *testing.T) {
	for text, want := range map[string]error{
		`["a",1]`:           nil,
		` [ "a" ]`:          nil,
		`[7]`:               nil,
		`[]`:                parser.ErrInvalidPayload,
		`[null]`:            parser.ErrInvalidPayload,
		`[["a"]]`:           parser.ErrInvalidPayload,
		`{"a":1}`:           parser.ErrInvalidPayload,
		`"a"`:               parser.ErrInvalidPayload,
		`["connect"]`:       parser.ErrReservedEvent,
		`["conn\u0065ct"]`:  parser.ErrReservedEvent,
		`["newListener",1]`: parser.ErrReservedEvent,
	} {
		if err := parser.CheckEvent([]byte(text)); !errors.Is(err, want) {
			t.Errorf("CheckEvent(%s) = %v, want %v", text, err, want)
		}
	}
}
