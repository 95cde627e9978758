package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"example.com/chorus/pkg/socketio"
	"example.com/chorus/pkg/socketio/parser"
)

type file struct {
	Name    string            `json:"name"`
	Content []byte            `json:"content"`
	Parts   [][]byte          `json:"parts,omitempty"`
	Extra   map[string]any    `json:"extra,omitempty"`
	Next    *file             `json:"next,omitempty"`
	Raw     json.RawMessage   `json:"raw,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
}

func TestValuesOnTheWire(t *testing.T) {
	_, front, socket := connected(t)
	p := front
	tests := []struct {
		name string
		args []any
		want []string
	}{
		{"none", nil, []string{`42["e"]`}},
		{"JSON as JavaScript writes it", []any{"<&>\u2028\"", 1, 2.5, true, false, nil, []int{}, map[string]int{"a": 1}, struct{ A string }{"<"}},
			[]string{"42[\"e\",\"<&>\u2028\\\"\",1,2.5,true,false,null,[],{\"a\":1},{\"A\":\"<\"}]"}},
		{"bytes", []any{[]byte{1, 2}}, []string{`451-["e",{"_placeholder":true,"num":0}]`, "b:0102"}},
		{"bytes at depth", []any{map[string]any{"a": []any{[]byte{1}, "x", nil}}, &file{Name: "f", Content: []byte{2}, Parts: [][]byte{{3}, {4}}, Next: &file{}}},
			[]string{`454-["e",{"a":[{"_placeholder":true,"num":0},"x",null]},{"name":"f","content":{"_placeholder":true,"num":1},` +
				`"parts":[{"_placeholder":true,"num":2},{"_placeholder":true,"num":3}],"next":{"name":"","content":null}}]`, "b:01", "b:02", "b:03", "b:04"}},
		{"raw JSON is no binary", []any{json.RawMessage(`{"a":1}`), file{Raw: json.RawMessage(`[1]`)}},
			[]string{`42["e",{"a":1},{"name":"","content":null,"raw":[1]}]`}},
		{"no arguments and others", []any{socketio.Args{}, 1, socketio.Args{}, socketio.Raw{}}, []string{`42["e",1,null]`}},
	}
	for _, tt := range tests {
		if err := socket.Emit(t.Context(), "e", tt.args...); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		p.expect(tt.want...)
	}
	loop := &file{}
	loop.Next = loop
	if err := socket.Emit(t.Context(), "e", loop); err == nil {
		t.Error("a value that contains itself was sent")
	}
}

// A value that cannot be sent is an error of Emit, never something else on the wire.
func TestValuesThatCannotBeSent(t *testing.T) {
	_, p, socket := connected(t)
	text, err := socketio.ParseArgs([]byte(`[{"a":1},"x"]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	withBinary, err := socketio.NewArgs([]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	fake, err := socketio.ParseArgs([]byte(`[{"_placeholder":true,"num":9}]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]any{
		"binary inside Raw inside a value": {map[string]any{"data": withBinary.Raw(0)}},
		"binary inside Args inside":        {[]any{withBinary}},
		"RawMessage that is not UTF-8":     {json.RawMessage("\"\xff\"")},
		"plain data like a placeholder":    {fake, []byte{1}},
	} {
		if err := socket.Emit(t.Context(), "e", args...); err == nil {
			t.Errorf("%s: Emit = nil, sent %s", name, p.read())
		}
	}
	type level byte
	if err := socket.Emit(t.Context(), "e", map[string]any{"one": text.Raw(0), "all": text}, fake, []level{1}); err == nil {
		t.Error("plain data like a placeholder beside bytes of a named type was sent")
	}
	if err := socket.Emit(t.Context(), "e", map[string]any{"all": text, "one": text.Raw(0)}, []level{1, 2}); err != nil {
		t.Fatal(err)
	}
	p.expect(`451-["e",{"all":[{"a":1},"x"],"one":{"a":1}},{"_placeholder":true,"num":0}]`, "b:0102")
}

// connected gives a client and its socket.
func connected(t testing.TB) (*socketio.Server, *peer, *socketio.Socket) {
	t.Helper()
	server, front := start(t, nil)
	sockets := make(chan *socketio.Socket, 1)
	server.OnConnect(func(_ context.Context, s *socketio.Socket) error { sockets <- s; return nil })
	p := dial(t, front, "/")
	return server, p, receive(t, sockets)
}

func TestArgs(t *testing.T) {
	server, p, _ := connected(t)
	results := make(chan socketio.Args, 1)
	server.On("e", func(_ context.Context, _ *socketio.Socket, args socketio.Args) error {
		results <- args.Clone()
		return nil
	})
	p.send(`453-["e",{"name":"f","content":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0},"x",{"a":[{"_placeholder":true,"num":2},"AQI="]}]`)
	p.sendBinary([]byte{1, 2})
	p.sendBinary([]byte{3})
	p.sendBinary([]byte{1, 2})
	args := receive(t, results)
	if args.Len() != 4 || args.WantsAck() {
		t.Fatalf("Len = %d, WantsAck = %t", args.Len(), args.WantsAck())
	}
	var f file
	var b []byte
	var s string
	var v any
	if err := args.Decode(&f, &b, &s, &v); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f, file{Name: "f", Content: []byte{3}}) || !reflect.DeepEqual(b, []byte{1, 2}) || s != "x" ||
		!reflect.DeepEqual(v, map[string]any{"a": []any{[]byte{1, 2}, "AQI="}}) {
		t.Errorf("Decode = %+v, %v, %q, %v", f, b, s, v)
	}
	if err := args.Decode(&f, &b, &s, &v, &v); !errors.Is(err, socketio.ErrMissingArgument) {
		t.Errorf("Decode of a fifth argument = %v, want ErrMissingArgument", err)
	}
	if err := args.Raw(2).Decode(&f); err == nil {
		t.Error("a string decoded into a struct")
	}
	if got := string(args.Raw(2).JSON()); got != `"x"` {
		t.Errorf("Raw(2) = %s", got)
	}
	if got := args.Raw(9); len(got.JSON()) != 0 {
		t.Errorf("Raw(9) = %s, want nothing", got.JSON())
	}
	if err := args.Ack(t.Context()); !errors.Is(err, socketio.ErrNoAck) {
		t.Errorf("Ack = %v, want ErrNoAck", err)
	}
	// One argument of several, behind another binary: numbered anew.
	if err := server.Emit(t.Context(), "e", []byte{9}, args.Raw(0)); err != nil {
		t.Fatal(err)
	}
	p.expect(`452-["e",{"_placeholder":true,"num":0},{"name":"f","content":{"_placeholder":true,"num":1}}]`, "b:09", "b:03")
}

func TestTypedEvent(t *testing.T) {
	const upload socketio.Event[file] = "upload"
	server, p, _ := connected(t)
	got := make(chan file, 1)
	upload.Handle(server, func(_ context.Context, _ *socketio.Socket, f file) error { got <- f; return nil })
	if err := upload.Emit(t.Context(), server, file{Name: "n", Content: []byte{5}}); err != nil {
		t.Fatal(err)
	}
	text, content := p.read(), p.read()
	if want := `451-["upload",{"name":"n","content":{"_placeholder":true,"num":0}}]`; text != want || content != "b:05" {
		t.Fatalf("Emit sent %s, %s; want %s", text, content, want)
	}
	p.send(text)
	p.sendBinary([]byte{5})
	if f := receive(t, got); f.Name != "n" || string(f.Content) != "\x05" {
		t.Errorf("Handle got %+v", f)
	}
}

func TestTypedEventsWithSeveralArguments(t *testing.T) {
	type part struct {
		socketio.Several
		Name    string
		Content []byte
		Last    *bool
	}
	type where struct {
		part // is not spread here, so this is one argument
		Row  int
	}
	const (
		upload socketio.Event[part]                      = "upload"
		hello  socketio.Event[socketio.Several]          = "hello"
		single socketio.Event[where]                     = "single"
		check  socketio.Call[part, part]                 = "check"
		done   socketio.Call[socketio.Several, struct{}] = "done"
	)
	server, p, s := connected(t)
	got := make(chan part, 1)
	upload.Handle(server, func(_ context.Context, _ *socketio.Socket, v part) error { got <- v; return nil })
	check.Handle(server, func(_ context.Context, _ *socketio.Socket, v part) (part, error) { return v, nil })
	hello.Handle(server, func(ctx context.Context, s *socketio.Socket, none socketio.Several) error {
		return hello.Emit(ctx, s, none)
	})
	ctx := t.Context()
	yes := true
	if err := upload.Emit(ctx, server, part{Name: "n", Content: []byte{5}, Last: &yes}); err != nil {
		t.Fatal(err)
	}
	p.expect(`451-["upload","n",{"_placeholder":true,"num":0},true]`, "b:05")
	p.send(`451-["upload","n",{"_placeholder":true,"num":0},null,"more"]`)
	p.sendBinary([]byte{5})
	if v := receive(t, got); v.Name != "n" || string(v.Content) != "\x05" || v.Last != nil {
		t.Errorf("Handle got %+v", v)
	}
	p.send(`42["hello"]`)
	p.expect(`42["hello"]`)
	p.send(`427["check","n","Ag==",false]`)
	p.expect(`461-7["n",{"_placeholder":true,"num":0},false]`, "b:02")
	p.send(`42["check","n","Ag==",false]`) // without an acknowledgement
	_ = single.Emit(ctx, server, where{Row: 3})
	p.expect(`42["single",{"Name":"","Content":null,"Last":null,"Row":3}]`)

	answered := make(chan error, 2)
	go func() {
		v, err := check.Call(ctx, s, part{Name: "n"})
		if err == nil && (v.Name != "m" || v.Last == nil || *v.Last) {
			err = fmt.Errorf("Call = %+v", v)
		}
		answered <- err
	}()
	p.expect(`451-0["check","n",{"_placeholder":true,"num":0},null]`, "b:")
	p.send(`430["m","",false]`)
	if err := receive(t, answered); err != nil {
		t.Error(err)
	}
	go func() {
		_, err := done.Call(ctx, s, socketio.Several{})
		answered <- err
	}()
	p.expect(`421["done"]`)
	p.send(`431[{}]`)
	if err := receive(t, answered); err != nil {
		t.Error(err)
	}
}

func TestEscapedEventName(t *testing.T) {
	server, p, _ := connected(t)
	got := make(chan string, 4)
	for _, name := range []string{"é\"x", "plain", "7"} {
		server.On(name, func(context.Context, *socketio.Socket, socketio.Args) error { got <- name; return nil })
	}
	for _, tt := range []struct{ packet, want string }{
		{`42["\u00e9\"x"]`, "é\"x"}, {`42["pl\u0061in"]`, "plain"}, {`42[7]`, "7"}, {`42["plain"]`, "plain"},
	} {
		p.send(tt.packet)
		if name := receive(t, got); name != tt.want {
			t.Errorf("%s reached the handler of %q", tt.packet, name)
		}
	}
}

// What a client sends is never taken for our own tokens, nor can a string that looks like base64 of an attachment
// break anything.
func FuzzArgsDecode(f *testing.F) {
	f.Add(`["e",{"a":{"_placeholder":true,"num":0}},"AQI="]`)
	f.Add(`["e",{"_placeholder":true,"num":3}]`)
	f.Fuzz(func(t *testing.T, data string) {
		packet, err := parser.Decode([]byte("51-" + data))
		if err != nil || len(packet.Data) == 0 {
			return
		}
		args := socketio.EventArgs(packet.Data, []byte{1, 2})
		for i := range args.Len() {
			var v any
			if err := args.Raw(i).Decode(&v); err != nil && !errors.Is(err, parser.ErrIllegalAttachments) && !strings.Contains(err.Error(), "json") &&
				!strings.Contains(err.Error(), "exponent") && !strings.Contains(err.Error(), "number") {
				t.Errorf("Decode(%s) = %v", args.Raw(i).JSON(), err)
			}
		}
	})
}
