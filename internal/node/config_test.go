package node

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// parse reads arguments and environment as the program does. Variables of the machine are put aside.
func parse(t *testing.T, args []string, env map[string]string) (*commands, error) {
	t.Helper()
	clearEnv(t)
	for name, value := range env {
		t.Setenv(name, value)
	}
	l, err := load(args, &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		return nil, err
	}
	if len(l.problems) > 0 {
		err = errors.New(strings.Join(l.problems, "\n"))
	}
	return l.cli, err
}

func clearEnv(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, "") // restores it in the end
			os.Unsetenv(name)
		}
	}
}

func TestDefaults(t *testing.T) {
	cli, err := parse(t, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := cli.Serve
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"addr", strings.Join(c.Addr, ","), ":3000"},
		{"internal_addr", c.InternalAddr, "127.0.0.1:9464"},
		{"path", c.Path, "/socket.io/"},
		{"events", strings.Join(c.Events, ","), "chat message"},
		{"allow_transports", strings.Join(c.AllowTransports, ","), "polling,websocket"},
		{"ping_interval", c.PingInterval, 25 * time.Second},
		{"ping_timeout", c.PingTimeout, 20 * time.Second},
		{"upgrade_timeout", c.UpgradeTimeout, 10 * time.Second},
		{"connect_timeout", c.ConnectTimeout, 45 * time.Second},
		{"write_timeout", c.WriteTimeout, 10 * time.Second},
		{"max_payload", c.MaxPayload, size(1_000_000)},
		{"queue.bytes", c.Queue.Bytes, size(1 << 20)},
		{"queue.messages", c.Queue.Messages, 4096},
		{"queue.policy", c.Queue.Policy, "close"},
		{"adapter", c.adapterName(), "memory"},
		{"node.forward", c.Node.Forward, true},
		{"cluster.secret", c.Cluster.Secret, ""},
		{"cluster.advertise", c.Cluster.Advertise, ""},
		{"redis.prefix", c.Redis.Prefix, "socket.io"},
		{"redis.watchdog", c.Redis.Watchdog, 3 * time.Second},
		{"redis.degraded", c.Redis.Degraded, "serve"},
		{"page", c.Page, true},
		{"client.serve", c.Client.Serve, true},
		{"public_readyz", c.PublicReadyz, false},
		{"drain.lame_duck", c.Drain.LameDuck, 5 * time.Second},
		{"drain.spread", c.Drain.Spread, 20 * time.Second},
		{"drain.rate", c.Drain.Rate, 0},
		{"drain.timeout", c.Drain.Timeout, 35 * time.Second},
		{"drain.status", c.Drain.Status, 503},
		{"log.level", c.Log.Level, "info"},
		{"log.format", c.Log.Format, "json"},
		{"demo log.format", cli.Demo.Log.Format, "text"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	env := map[string]string{
		"CHORUS_REDIS_URL": "redis://env:6379", "CHORUS_PING_INTERVAL": "7s", "CHORUS_EVENTS": "a,b c",
		"CHORUS_PAGE": "false", "CHORUS_MAX_PAYLOAD": "2MiB", "CHORUS_NODE_ROUTE_TAG": "n7", "CHORUS_DRAIN_STATUS": "404",
	}
	cli, err := parse(t, []string{"serve", "--redis.url", "rediss://flag:6379", "--drain.lame-duck=1s"}, env)
	if err != nil {
		t.Fatal(err)
	}
	c := cli.Serve
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"flag before environment", c.Redis.URL, "rediss://flag:6379"},
		{"flag before default", c.Drain.LameDuck, time.Second},
		{"duration of the environment", c.PingInterval, 7 * time.Second},
		{"list of the environment", strings.Join(c.Events, "|"), "a|b c"},
		{"bool of the environment", c.Page, false},
		{"size of the environment", c.MaxPayload, size(2 << 20)},
		{"nested key of the environment", c.Node.RouteTag, "n7"},
		{"number of the environment", c.Drain.Status, 404},
		{"adapter by URL", c.adapterName(), "redis"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestRecoveryFollowsTheAdapter(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{nil, false},
		{[]string{"--recovery.enabled"}, true},
		{[]string{"--redis.url=redis://h"}, false},
		{[]string{"--redis.url=redis://h", "--adapter=redis-streams"}, true},
		{[]string{"--redis.url=redis://h", "--adapter=redis-streams", "--no-recovery.enabled"}, false},
	} {
		cli, err := parse(t, append([]string{"serve"}, tt.args...), nil)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		} else if got := cli.Serve.recovers(); got != tt.want {
			t.Errorf("%q: recovers = %t, want %t", tt.args, got, tt.want)
		}
	}
	cli, err := parse(t, []string{"demo", "--adapter=redis-streams"}, nil)
	if err != nil || cli.Demo.adapterName() != adapterStreams || !cli.Demo.recovers() {
		t.Errorf("the demo with streams: %v, %+v", err, cli.Demo.config)
	}
}

func TestValuesThatWork(t *testing.T) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"no internal address": {"--internal-addr="},
		"several addresses":   {"--addr=127.0.0.1:3000,[::1]:3001"},
		"path without slash":  {"--path=/ws"},
		"path at the root":    {"--path=/", "--no-page"},
		"memory beside Redis": {"--adapter=memory", "--redis.url=redis://h"},
		"only websocket":      {"--allow-transports=websocket"},
		"client folder":       {"--client.dir=" + dir},
		"origins":             {"--cors.origins=https://a.example,https://*.b.example:8443,*", "--cors.credentials"},
		"recovery alone":      {"--recovery.enabled", "--recovery.window=10s"},
		"no lame duck":        {"--drain.lame-duck=0s", "--drain.spread=0s", "--drain.rate=100"},
		"no forwarding":       {"--no-node.forward"},
		"cluster secret":      {"--cluster.secret=0123456789abcdef", "--cluster.advertise=[fd00::1]:9464"},
		"advertised name":     {"--cluster.advertise=node1.example"},
		"event named twice":   {"--events=a,b c,a"},
		"size in bytes":       {"--max-payload=1000"},
		"demo by itself":      {"demo"},
		"demo on any port":    {"demo", "--addr=127.0.0.1:0", "--internal-addr=:0"},
	} {
		t.Run(name, func(t *testing.T) {
			cli, err := parse(t, args, nil)
			if err != nil {
				t.Errorf("parse(%q): %v", args, err)
			}
			if want := []string{"a", "b c"}; name == "event named twice" && !slices.Equal(cli.Serve.Events, want) {
				t.Errorf("events are %q, want %q", cli.Serve.Events, want)
			}
			if name == "path without slash" && cli.Serve.Path != "/ws/" {
				t.Errorf("path is %q, want /ws/", cli.Serve.Path)
			}
		})
	}
}

func TestBadUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want []string // parts of the message
	}{
		{"unknown flag", []string{"--port=1"}, nil, []string{"--port"}},
		{"unknown command", []string{"start"}, nil, []string{"start"}},
		{"enum", []string{"--queue.policy=wait"}, nil, []string{"--queue.policy", `"wait"`, `"close"`, `"drop_volatile"`}},
		{"enum by environment", nil, map[string]string{"CHORUS_LOG_LEVEL": "loud"}, []string{"CHORUS_LOG_LEVEL: ", `"loud"`, "debug, info, warn, error"}},
		{"enum of numbers", []string{"--drain.status=500"}, nil, []string{"--drain.status", `"500"`, `"404"`}},
		{"transport", []string{"--allow-transports=polling,webtransport"}, nil, []string{"--allow-transports", `"webtransport"`}},
		{"no transport", []string{"--allow-transports="}, nil, []string{"--allow-transports"}},
		{"adapter", []string{"--adapter=carrier-pigeon"}, nil, []string{"--adapter", `"carrier-pigeon"`, `"memory"`}},
		{"streams without URL", []string{"--adapter=redis-streams"}, nil, []string{"--adapter", "redis-streams", "--redis.url"}},
		{"sharded without URL", []string{"--adapter=redis-sharded"}, nil, []string{"--adapter", "redis-sharded", "--redis.url"}},
		{"recovery with sharded", []string{"--adapter=redis-sharded", "--redis.url=redis://h", "--recovery.enabled"}, nil, []string{"--recovery.enabled", "redis-streams"}},
		{"subscription of another adapter", []string{"--redis.url=redis://h", "--redis.subscription=dynamic"}, nil, []string{"--redis.subscription", "dynamic", `"pattern"`}},
		{"request timeout", []string{"--redis.requests-timeout=0s"}, nil, []string{"--redis.requests-timeout", "1ms"}},
		{"subscription", []string{"--redis.subscription=none"}, nil, []string{"--redis.subscription", `"none"`, `"dynamic-private"`}},
		{"stream name", []string{"--redis.stream.name="}, nil, []string{"--redis.stream.name"}},
		{"stream count", []string{"--redis.stream.count=0"}, nil, []string{"--redis.stream.count", "0"}},
		{"stream length", []string{"--redis.stream.max-len=-1"}, nil, []string{"--redis.stream.max-len", "-1"}},
		{"adapter without URL", []string{"--adapter=redis"}, nil, []string{"--adapter", "--redis.url"}},
		{"name without end", []string{"--node.id=" + strings.Repeat("x", 254)}, nil, []string{"--node.id", "253"}},
		{"duration", []string{"--ping-interval=soon"}, nil, []string{"--ping-interval", "soon"}},
		{"duration by environment", nil, map[string]string{"CHORUS_PING_TIMEOUT": "never"}, []string{"CHORUS_PING_TIMEOUT", "never"}},
		{"duration out of range", []string{"--ping-timeout=-1s"}, nil, []string{"--ping-timeout", "1ms", "-1s"}},
		{"watchdog too quick", []string{"--redis.watchdog=1s"}, nil, []string{"--redis.watchdog", "2s", "1s"}},
		{"lame duck too long", []string{"--drain.lame-duck=1m"}, nil, []string{"--drain.lame-duck", "35s", "1m"}},
		{"spread too long", []string{"--drain.spread=30s"}, nil, []string{"--drain.lame-duck (5s)", "--drain.spread (30s)", "--drain.timeout (35s)"}},
		{"negative spread", []string{"--drain.spread=-1s"}, nil, []string{"--drain.spread", "-1s"}},
		{"negative rate", []string{"--drain.rate=-1"}, nil, []string{"--drain.rate", "-1"}},
		{"drain at no address", []string{"drain", "--addr=here"}, nil, []string{"--addr", "here"}},
		{"drain with a short secret", []string{"drain", "--cluster.secret=short"}, nil, []string{"--cluster.secret", "16"}},
		{"size", []string{"--max-payload=huge"}, nil, []string{"--max-payload", "huge", "1MiB"}},
		{"size out of range", []string{"--queue.bytes=5GB"}, nil, []string{"--queue.bytes", "5GB"}},
		{"size just out of range", []string{"--queue.bytes=2GiB"}, nil, []string{"--queue.bytes", "2GiB", "less than 2GiB"}},
		{"size zero", []string{"--max-payload=0"}, nil, []string{"--max-payload", "at least 1"}},
		{"number", []string{"--queue.messages=many"}, nil, []string{"--queue.messages", "many"}},
		{"number out of range", []string{"--queue.messages=0"}, nil, []string{"--queue.messages", "at least 1", "got 0"}},
		{"bool", nil, map[string]string{"CHORUS_PAGE": "perhaps"}, []string{"CHORUS_PAGE", "perhaps"}},
		{"address", []string{"--addr=3000"}, nil, []string{"--addr", "3000"}},
		{"port out of range", []string{"--internal-addr=:70000"}, nil, []string{"--internal-addr", ":70000"}},
		{"no address", []string{"--addr="}, nil, []string{"--addr"}},
		{"path", []string{"--path=/{x}/"}, nil, []string{"--path", "/{x}/"}},
		{"path that points elsewhere", []string{"--path=/a/../"}, nil, []string{"--path", "/a/../"}},
		{"port of Redis", []string{"--redis.url=redis://h:99999"}, nil, []string{"--redis.url", "99999"}},
		{"no ports left", []string{"demo", "--addr=:65534"}, nil, []string{"--addr", "65534"}},
		{"origin with a path", []string{"--cors.origins=https://a.example/x"}, nil, []string{"--cors.origins", "https://a.example/x"}},
		{"origin without a scheme", nil, map[string]string{"CHORUS_CORS_ORIGINS": "a.example"}, []string{"CHORUS_CORS_ORIGINS: ", "a.example"}},
		{"recovery in a cluster", []string{"--recovery.enabled", "--redis.url=redis://h"}, nil, []string{"--recovery.enabled"}},
		{"recovery in the demo", []string{"demo", "--recovery.enabled"}, nil, []string{"--recovery.enabled"}},
		{"path of the page", []string{"--path=/"}, nil, []string{"--path", "--no-page"}},
		{"route tag", []string{"--node.route-tag=a_b"}, nil, []string{"--node.route-tag", "a_b", "32"}},
		{"reserved event", []string{"--events=chat message,disconnect"}, nil, []string{"--events", "disconnect"}},
		{"redis scheme", []string{"--redis.url=http://h"}, nil, []string{"--redis.url", "http"}},
		{"sentinels without a name", []string{"--redis.mode=sentinel", "--redis.url=redis://h"}, nil, []string{"--redis.url", "master_name"}},
		{"kind of Redis", []string{"--redis.mode=ring", "--redis.url=redis://h"}, nil, []string{"--redis.mode", "ring"}},
		{"database of a cluster", []string{"--redis.url=redis://h/3?addr=i:1"}, nil, []string{"--redis.url", `"3"`}},
		{"port of a further address", []string{"--redis.url=redis://h?addr=i:0"}, nil, []string{"--redis.url", `"0"`}},
		{"password twice", []string{"--redis.url=redis://h", "--redis.password=x", "--redis.password-file=" + file}, nil, []string{"--redis.password-file"}},
		{"URL twice", []string{"--redis.url=redis://h", "--redis.url-file=" + file}, nil, []string{"--redis.url-file", "--redis.url too"}},
		{"URL and addresses", []string{"--redis.url=redis://h", "--redis.addrs=h:1"}, nil, []string{"--redis.addrs", "URL"}},
		{"bad address", []string{"--redis.addrs=h"}, nil, []string{"--redis.addrs", `"h"`}},
		{"another master", []string{"--redis.url=redis://h?master_name=a", "--redis.master=b"}, nil, []string{"--redis.master", `"a"`, `"b"`}},
		{"no file of a URL", []string{"--redis.url-file=/none"}, nil, []string{"--redis.url-file", "/none"}},
		{"empty file of a URL", []string{"--redis.url-file=" + file}, nil, []string{"--redis.url-file"}},
		{"proxies", []string{"--trusted-proxies=10.0.0.0/8,x"}, nil, []string{"--trusted-proxies", `"x"`, "10.0.0.0/8"}},
		{"limit", []string{"--limits.rooms-per-socket=-1"}, nil, []string{"--limits.rooms-per-socket", "at least 0", "-1"}},
		{"no password file", []string{"--redis.url=redis://h", "--redis.password-file=/none"}, nil, []string{"--redis.password-file", "/none"}},
		{"no certificates", []string{"--redis.url=redis://h", "--redis.tls.ca=" + file}, nil, []string{"--redis.tls.ca", file}},
		{"certificate without key", []string{"--redis.url=redis://h", "--redis.tls.cert=" + file}, nil, []string{"--redis.tls.cert", "--redis.tls.key"}},
		{"redis option", []string{"--redis.url=redis://h?speed=1"}, nil, []string{"--redis.url", "speed"}},
		{"redis prefix", []string{"--redis.prefix="}, nil, []string{"--redis.prefix"}},
		{"client folder", []string{"--client.dir=" + file + "/none"}, nil, []string{"--client.dir"}},
		{"client folder is a file", []string{"--client.dir=" + file}, nil, []string{"--client.dir", "not a folder"}},
		{"short secret", nil, map[string]string{"CHORUS_CLUSTER_SECRET": "tooshort"}, []string{"CHORUS_CLUSTER_SECRET: ", "at least 16"}},
		{"secret file", nil, map[string]string{"CHORUS_CLUSTER_SECRET_FILE": file + "/none"}, []string{"CHORUS_CLUSTER_SECRET_FILE: "}},
		{"empty secret file", []string{"--cluster.secret-file=" + file}, nil, []string{"--cluster.secret-file", "at least 16"}},
		{"two secrets", []string{"--cluster.secret=0123456789abcdef", "--cluster.secret-file=" + file}, nil, []string{"--cluster.secret-file", "--cluster.secret too"}},
		{"advertised port", []string{"--cluster.advertise=host:99999"}, nil, []string{"--cluster.advertise", "host:99999"}},
		{"advertised nothing", []string{"--cluster.advertise=:9464"}, nil, []string{"--cluster.advertise", ":9464"}},
		{"advertised URL", []string{"--cluster.advertise=http://host"}, nil, []string{"--cluster.advertise", "http://host"}},
		{"demo in memory", []string{"demo", "--adapter=memory"}, nil, []string{"--adapter", "redis"}},
		{"demo address", []string{"demo", "--node-addr=x"}, nil, []string{"--node-addr", `"x"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clearEnv(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			var stdout, stderr bytes.Buffer
			if code := Main(tt.args, nil, &stdout, &stderr); code != exitUsage {
				t.Errorf("Main(%q) = %d, want %d", tt.args, code, exitUsage)
			}
			for _, part := range tt.want {
				if !strings.Contains(stderr.String(), part) {
					t.Errorf("Main(%q) says %q, want %q in it", tt.args, stderr.String(), part)
				}
			}
		})
	}
}

func TestErrorsHideThePassword(t *testing.T) {
	for _, url := range []string{
		"redis://user:secret@host:port", "redis://user:secret@host:6379/x", "http://user:secret@host", "redis://user:secret@host?x=1",
		"redis://user:secret@ho st", "redis://user:%zzsecret@host", "user:secret@host", "redis://user:secret@host:6379/1/2",
		"redis:secret@host", "redis:///user:secret@host", "redis:/user:secret@host", "redis://user:1#secret@host", "redis://user:1?secret@host",
		"redis://user:1/secret@host", "redis://user/secret@host",
	} {
		var stdout, stderr bytes.Buffer
		clearEnv(t)
		if code := Main([]string{"--redis.url=" + url}, nil, &stdout, &stderr); code != exitUsage {
			t.Errorf("Main(--redis.url=%s) = %d, want %d", url, code, exitUsage)
		}
		if strings.Contains(stderr.String(), "secret") {
			t.Errorf("the error for %s shows the password: %s", url, stderr.String())
		}
	}
}

func TestHelp(t *testing.T) {
	clearEnv(t)
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"serve", "demo", "version", "--redis.url", "CHORUS_REDIS_URL", "--ping-interval=25s", "--max-payload=1MB"}},
		{[]string{"serve", "--help"}, []string{"--internal-addr", "--addr=:3000", "CHORUS_DRAIN_LAME_DUCK", "--log.level"}},
		{[]string{"demo", "--help"}, []string{"--node-addr", "CHORUS_ADDR"}},
	} {
		var stdout, stderr bytes.Buffer
		if code := Main(tt.args, nil, &stdout, &stderr); code != exitOK {
			t.Errorf("Main(%q) = %d, want 0", tt.args, code)
		}
		for _, part := range tt.want {
			if !strings.Contains(stdout.String(), part) {
				t.Errorf("Main(%q) does not mention %q", tt.args, part)
			}
		}
	}
}

func TestVersionCommand(t *testing.T) {
	clearEnv(t)
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"version"}, nil, &stdout, &stderr); code != exitOK || !strings.HasPrefix(stdout.String(), "chorus ") {
		t.Errorf("Main(version) = %d %q, want 0 and the version", code, stdout.String())
	}
}

func TestUnknownVariables(t *testing.T) {
	parser, err := newParser(&commands{}, &sources{}, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	got := unknownVariables(parser.Model, []string{
		"CHORUS_REDIS_URL=redis://h", "CHORUS_NODE_ADDR=:1", "CHORUS_PORT=tcp://10.0.0.1:3000", "HOME=/", "CHORUS_LOG_LEVELS=info",
	})
	if want := []string{"CHORUS_LOG_LEVELS", "CHORUS_PORT"}; !slices.Equal(got, want) {
		t.Errorf("unknownVariables = %q, want %q", got, want)
	}
}

func TestRedisDeployments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	urlFile := filepath.Join(t.TempDir(), "url")
	if err := errors.Join(os.WriteFile(file, []byte("from the file\n"), 0o600), os.WriteFile(urlFile, []byte("redis://u:p@h:7\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		flags []string
		want  string // kind, addresses, user and password of Redis, of the Sentinels
	}{
		{"single", []string{"--redis.url=redis://u:p@h/2"}, "single [h:6379] u:p 2"},
		{"socket", []string{"--redis.url=unix:///run/redis"}, "single [] : 0"},
		{"file", []string{"--redis.url=rediss://h", "--redis.username=u", "--redis.password-file=" + file}, "single [h:6379] u:from the file 0 TLS"},
		{"certificate check off", []string{"--redis.url=redis://h", "--redis.tls.insecure"}, "single [h:6379] : 0 TLS"},
		{"sentinels", []string{"--redis.url=redis://s:q@h:1?addr=i:2&master_name=m&db=3"}, "sentinel m [h:1 i:2] s:q s:q"},
		{"addresses", []string{"--redis.addrs=h:1"}, "single [h:1] : 0"},
		{"addresses with TLS", []string{"--redis.addrs=h:1", "--redis.tls.enabled"}, "single [h:1] : 0 TLS"},
		{"addresses of a cluster", []string{"--redis.addrs=h:1,i:2", "--redis.username=u", "--redis.password=p"}, "cluster [h:1 i:2] u:p"},
		{"addresses of sentinels", []string{"--redis.addrs=h:1,i:2", "--redis.master=m", "--redis.password=p", "--redis.sentinel-username=s", "--redis.sentinel-password-file=" + file},
			"sentinel m [h:1 i:2] s:p s:from the file"},
		{"name of the master", []string{"--redis.url=redis://h:1?addr=i:2", "--redis.master=m"}, "sentinel m [h:1 i:2] : :"},
		{"password of a file beside that of sentinels", []string{"--redis.url=redis://:q@h?master_name=m", "--redis.password-file=" + file}, "sentinel m [h:6379] :from the file :q"},
		{"URL of a file", []string{"--redis.url-file=" + urlFile}, "single [h:7] u:p 0"},
		{"sentinels with another password", []string{"--redis.url=redis://:q@h?master_name=m", "--redis.password=p"}, "sentinel m [h:6379] :p :q"},
		{"cluster", []string{"--redis.url=redis://u:p@h:1?addr=i:2"}, "cluster [h:1 i:2] u:p"},
		{"cluster by its name", []string{"--redis.mode=cluster", "--redis.url=redis://h:1"}, "cluster [h:1] :"},
	} {
		cli, err := parse(t, append([]string{"serve"}, tt.flags...), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		o, err := cli.Serve.Redis.options()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		user := fmt.Sprintf("%v %s:%s", o.addrs, *o.username, *o.password)
		var got string
		switch {
		case o.sentinel != nil:
			got = fmt.Sprintf("sentinel %s %s %s:%s", o.sentinel.MasterName, user, o.sentinel.SentinelUsername, o.sentinel.SentinelPassword)
		case o.cluster != nil:
			got = "cluster " + user
		default:
			got = fmt.Sprintf("single %s %d", user, o.single.DB)
		}
		if *o.tls != nil {
			got += " TLS"
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		client, err := cli.Serve.redisClient()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		_ = client.Close()
	}
}
