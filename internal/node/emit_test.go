package node

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

// run runs a command to its end.
func run(args ...string) (code int, stdout, stderr string) {
	var out, errors bytes.Buffer
	code = Main(args, nil, &out, &errors)
	return code, out.String(), errors.String()
}

func TestEmit(t *testing.T) {
	redis := miniredis.RunT(t)
	url := "--redis.url=redis://" + redis.Addr()
	for _, adapter := range []string{"redis", "redis-streams"} {
		t.Run(adapter, func(t *testing.T) {
			node := start(t, "serve", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", url, "--adapter="+adapter)
			addr, internal := node.addrs()
			node.until("readiness", func() bool {
				code, _ := readiness(t, internal)
				return code == 200
			})
			client := join(t, addr)
			for _, test := range []struct {
				args []string
				want string // what the client gets, up to an offset
			}{
				{[]string{"news", "1", `"text"`, `{"a": [true,null]}`}, `42["news",1,"text",{"a":[true,null]}`},
				{[]string{"--text", "--room=other", "never", "a room of nobody"}, ""},
				{[]string{"--text", "--except", "a,b", "--volatile", "plain", "some text"}, `42["plain","some text"`},
				{[]string{"nothing"}, `42["nothing"`},
			} {
				code, stdout, stderr := run(append([]string{"emit", url, "--adapter=" + adapter}, test.args...)...)
				if code != exitOK || stdout+stderr != "" {
					t.Fatalf("emit %q = %d, %q, %q", test.args, code, stdout, stderr)
				}
				if test.want != "" {
					client.read(test.want)
				}
			}
		})
	}
}

func TestEmitFails(t *testing.T) {
	url := "--redis.url=redis://:secret@" + occupy(t)
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no event":       {[]string{"emit", url}, exitUsage, "event"},
		"no Redis":       {[]string{"emit", "x"}, exitUsage, "--redis.url"},
		"no JSON":        {[]string{"emit", url, "x", "1", "text"}, exitUsage, `argument 2 of the event: "text" is no JSON`},
		"reserved":       {[]string{"emit", url, "disconnect"}, exitUsage, "disconnect"},
		"adapter":        {[]string{"emit", url, "--adapter=memory", "x"}, exitUsage, "memory"},
		"namespace":      {[]string{"emit", url, "--namespace=/a#b", "x"}, exitUsage, "--namespace"},
		"no answer":      {[]string{"emit", url, "--timeout=100ms", "x"}, exitFailure, "emit"},
		"nobody there":   {[]string{"emit", "--redis.url=redis://127.0.0.1:1", "x"}, exitFailure, "refused"},
		"no time at all": {[]string{"emit", url, "--timeout=0s", "x"}, exitUsage, "--timeout"},
	} {
		code, stdout, stderr := run(test.args...)
		if code != test.code || stdout != "" || !strings.Contains(stderr, test.want) || strings.Contains(stderr, "secret") {
			t.Errorf("%s: exit code %d, %q, %q; want %d with %q", name, code, stdout, stderr, test.code, test.want)
		}
	}
}
