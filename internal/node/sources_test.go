package node

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// settingsFile writes a configuration file and returns its name.
func settingsFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "chorus.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSourcesInTheirOrder(t *testing.T) {
	file := settingsFile(t, `
addr: [":3001", "127.0.0.1:3002"]
ping_interval: 1s
ping_timeout: 2s
upgrade_timeout: 3s
events: ["a,b", c]
allow_transports: websocket
page: false
allow_eio3: true
max_payload: 2MB
redis:
  url: redis://file
  publish_queue: 7
  stream: {name: other}
recovery: {enabled: false}
limits:
trusted_proxies: [10.0.0.0/8, 192.0.2.1]
`)
	cli, err := parse(t, []string{"--config=" + file, "--ping-interval=11s"}, map[string]string{"CHORUS_PING_INTERVAL": "12s", "CHORUS_PING_TIMEOUT": "13s"})
	if err != nil {
		t.Fatal(err)
	}
	c := cli.Serve
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"flag before all", c.PingInterval, 11 * time.Second},
		{"environment before file", c.PingTimeout, 13 * time.Second},
		{"file before default", c.UpgradeTimeout, 3 * time.Second},
		{"default", c.ConnectTimeout, 45 * time.Second},
		{"list", strings.Join(c.Addr, "|"), ":3001|127.0.0.1:3002"},
		{"list with a comma in an item", strings.Join(c.Events, "|"), "a,b|c"},
		{"one value for a list", strings.Join(c.AllowTransports, "|"), "websocket"},
		{"bool", c.Page, false},
		{"another", c.AllowEIO3, true},
		{"size", c.MaxPayload, size(2_000_000)},
		{"nested", c.Redis.PublishQueue, 7},
		{"nested twice", c.Redis.Stream.Name, "other"},
		{"section in flow style", *c.Recovery.Enabled, false},
		{"networks", c.TrustedProxies[0].String() + " " + c.TrustedProxies[1].String(), "10.0.0.0/8 192.0.2.1/32"},
		{"adapter by the URL of the file", c.adapterName(), "redis"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	cli, err = parse(t, nil, map[string]string{"CHORUS_CONFIG": file})
	if err != nil || cli.Serve.PingInterval != time.Second {
		t.Errorf("named by the environment: %v, %v", cli.Serve.PingInterval, err)
	}
	cli, err = parse(t, []string{"emit", "x", "--config=" + file}, nil)
	if err != nil || cli.Emit.Redis.URL != "redis://file" {
		t.Errorf("of another command: %v, %v", cli.Emit.Redis.URL, err)
	}
}

// A setting that is a list for a node and one value for the demo may be one item in a file.
func TestListsOfOne(t *testing.T) {
	cli, err := parse(t, []string{"demo", "--config=" + settingsFile(t, "addr: [':3001']\n")}, nil)
	if err != nil || cli.Demo.Addr != ":3001" {
		t.Errorf("demo: %v, %v", cli, err)
	}
	if _, err := parse(t, []string{"demo", "--config=" + settingsFile(t, "addr: [':3001', ':3002']\n")}, nil); err == nil || !strings.Contains(err.Error(), "addr: has one value and is no list") {
		t.Errorf("demo with two addresses: %v", err)
	}
}

func TestBadFiles(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // all that is said
	}{
		{"nothing", "", nil},
		{"comments", "# nothing\n", nil},
		{"null", "~\n", nil},
		{"empty section", "redis:\n  # url: redis://h\nlog: {}\n", nil},
		{"alias", "ping_interval: &t 3s\nping_timeout: *t\nqueue: &q {bytes: 7}\n", nil},
		{"unknown key", "port: 3000\n", []string{"FILE:1: port: there is no such key"}},
		{"misspelled", "redis:\n\n  publish_queu: 7\n", []string{"FILE:3: redis.publish_queu: there is no such key: did you mean redis.publish_queue?"}},
		{"as a flag", "ping-interval: 7s\n", []string{"FILE:1: ping-interval: there is no such key: did you mean ping_interval?"}},
		{"unknown section", "redis: {pool: {size: 7}}\n", []string{"FILE:1: redis.pool: there is no such key: did you mean redis.url?"}},
		{"twice", "page: true\nlog: {level: info}\npage: false\n", []string{"FILE:3: page: is here and in line 1"}},
		{"section with a value", "redis: redis://h\n", []string{"FILE:1: redis: is a section, its keys are written below it"}},
		{"value with keys", "path: {a: b}\n", []string{"FILE:1: path: has a value, and no keys below it"}},
		{"list of lists", "events:\n- [a]\n", []string{"FILE:2: events: is a list of plain values"}},
		{"list for one value", "path: [a, b]\n", []string{"FILE:1: path: has one value and is no list"}},
		{"no value", "page: true\nping_interval:\n", []string{"FILE:2: ping_interval: has no value"}},
		{"several", "ping_interval: soon\nqueue: {messages: many, policy: wait, bytes: big}\npage: perhaps\n", []string{
			`FILE:1: ping_interval: "soon" is not a duration such as 500ms, 25s or 2m`,
			`FILE:2: queue.bytes: "big" is not a size such as 64kB, 1MB or 1MiB (less than 2GiB)`,
			`FILE:2: queue.messages: "many" is not a number`,
			`FILE:2: queue.policy: must be one of close, drop_volatile, got "wait"`,
			`FILE:3: page: "perhaps" is not true or false`,
		}},
		{"out of range", "queue: {messages: 0}\nlimits: {connections: -1, events_per_second: 99999999999}\nredis: {watchdog: 1s}\n", []string{
			"FILE:3: redis.watchdog: must be at least 2s, got 1s",
			"FILE:1: queue.messages: must be at least 1, got 0",
			"FILE:2: limits.connections: must be at least 0, got -1",
			"FILE:2: limits.events_per_second: must be at most 2147483647, got 99999999999",
		}},
		{"network", "trusted_proxies: [10.0.0.0/33]\n", []string{`FILE:1: trusted_proxies: "10.0.0.0/33" is not a network such as 10.0.0.0/8, nor an address`}},
		{"no YAML", "a: [1\n", []string{"FILE: line 1: did not find expected ',' or ']'"}},
		{"a list", "- addr\n", []string{"FILE:1: must have keys and values, such as addr: :3000"}},
		{"two documents", "page: true\n---\npage: false\n", []string{"FILE: has more than one document"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clearEnv(t)
			file := settingsFile(t, tt.text)
			l, err := load([]string{"--config=" + file}, &bytes.Buffer{}, &bytes.Buffer{})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]string, len(l.problems))
			for i, problem := range l.problems {
				got[i] = strings.ReplaceAll(problem, file, "FILE")
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("problems are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
	if _, err := parse(t, []string{"--config=/none/chorus.yml"}, nil); err == nil || !strings.Contains(err.Error(), "/none/chorus.yml") {
		t.Errorf("a file that there is not: %v", err)
	}
}

// Whatever is wrong, and whatever is printed, no secret is in it.
func TestSecretsStaySecret(t *testing.T) {
	dir := t.TempDir()
	secretFile := filepath.Join(dir, "secret")
	if err := os.WriteFile(secretFile, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"redis: {pasword: hunter2}",
		"redis: {password: {hunter2: 1}}",
		"redis: {password: [hunter2, 1]}",
		"redis:\n  password: *hunter2",
		"redis:\n  password: \"hunter2\n",
		"redis:\n  password: hunter2: x\n",
		"redis:\n  password: @hunter2\n",
		"redis:\n  password: !hunter2 x: y\n",
		"redis: {url: 'redis://u:hunter2@h:99999', password: hunter2, sentinel_password: hunter2}",
		"redis: {url: 'redis://u:hunter2@h', url_file: " + secretFile + "}",
		"redis: {url_file: " + secretFile + "}",
		"redis: {url: 'redis://u:hunter2@h', addrs: ['h:1']}",
		"redis: {url: 'redis://u:hunter2@h?dial_timeout=x'}",
		"redis: {url: 'redis://u:p@h', password: hunter2, password_file: " + secretFile + "}",
		"cluster: {secret: hunter2}",
		"cluster: {secret_file: " + secretFile + "}",
		"cluster: {secret: hunter2hunter2hunter2, secret_file: " + secretFile + "}",
		"hunter2",
		"redis: {url: 'redis://u:hunter2@h?master_name=m', password: hunter2, sentinel_password: hunter2}\ncluster: {secret: hunter2hunter2hunter2}",
	} {
		commands := [][]string{{"config", "check"}}
		if strings.Contains(text, "hunter2@") { // others say the same of the same settings, which takes its time
			commands = append(commands, []string{"config", "print"}, []string{"serve", "--addr=x"}, []string{"demo", "--addr=x"}, []string{"emit", "connect"})
		}
		clearEnv(t)
		for _, command := range commands {
			var stdout, stderr bytes.Buffer
			Main(append(command, "--config="+settingsFile(t, text)), nil, &stdout, &stderr)
			if out := stdout.String() + stderr.String(); strings.Contains(out, "hunter2") {
				t.Errorf("%q with\n%s\nsays\n%s", command, text, out)
			}
		}
	}
	for _, args := range [][]string{{"--redis.pasword=hunter2"}, {"--redis.passwor", "hunter2"}, {"config", "print", "--redis.password=hunter2", "--redis.url=redis://:hunter2@h"}} {
		var stdout, stderr bytes.Buffer
		Main(args, nil, &stdout, &stderr)
		if out := stdout.String() + stderr.String(); strings.Contains(out, "hunter2") {
			t.Errorf("%q says %s", args, out)
		}
	}
}

func model(t *testing.T) *kong.Application {
	t.Helper()
	parser, err := newParser(&commands{}, &sources{}, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

// Every setting is a flag, a variable, a key of files and a row of the page, by one rule.
func TestEverySettingInAllForms(t *testing.T) {
	app := model(t)
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := settingFlags(app)
	if len(flags) < 50 {
		t.Fatalf("only %d settings", len(flags))
	}
	for _, flag := range flags {
		key := keyOf(flag)
		variable := envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
		if !slices.Equal(flag.Envs, []string{variable}) {
			t.Errorf("--%s: variables %q, want %s", flag.Name, flag.Envs, variable)
		}
		if strings.ReplaceAll(key, "_", "-") != flag.Name {
			t.Errorf("--%s: key %s", flag.Name, key)
		}
		if !bytes.Contains(page, []byte("\n| `"+key+"` | ")) {
			t.Errorf("docs/configuration.md has no row for %s", key)
		}
		if flag.Group == nil || flag.Help == "" {
			t.Errorf("--%s has no group or no help", flag.Name)
		}
		if strings.HasSuffix(key, "password") || strings.HasSuffix(key, "secret") {
			if !flag.Tag.Has("secret") || !slices.Contains(keys(app), key+"_file") {
				t.Errorf("%s is no secret, or cannot be given in a file", key)
			}
		}
	}
}

// A file that sets every key to what it is by default is as good as none.
func TestEveryKeyIsRead(t *testing.T) {
	clearEnv(t)
	var printed, again, stderr bytes.Buffer
	if code := Main([]string{"config", "print"}, nil, &printed, &stderr); code != exitOK {
		t.Fatalf("config print: %d %s", code, stderr.String())
	}
	file := settingsFile(t, printed.String())
	if code := Main([]string{"config", "print", "--config=" + file}, nil, &again, &stderr); code != exitOK {
		t.Fatalf("config print of what was printed: %d %s", code, stderr.String())
	}
	without := func(text string) []string {
		var lines []string
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(line, " # ")
			lines = append(lines, strings.TrimSpace(line))
		}
		return lines
	}
	if !slices.Equal(without(printed.String()), without(again.String())) {
		t.Errorf("printed\n%s\nand then\n%s", printed.String(), again.String())
	}
	if n := strings.Count(again.String(), " # default"); n != 0 {
		t.Errorf("%d keys of the file were not read:\n%s", n, again.String())
	}
}
