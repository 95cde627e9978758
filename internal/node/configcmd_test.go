package node

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestConfigCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		env  map[string]string
		code int
		want []string
	}{
		{"good", "page: false\n", nil, exitOK, nil},
		{"bad in every place", "ping_interval: soon\n", map[string]string{"CHORUS_PING_TIMEOUT": "never", "CHORUS_LOG_LEVELS": "x"}, exitUsage, []string{
			":1: ping_interval: \"soon\"", "CHORUS_PING_TIMEOUT: \"never\"", "--max-payload: must be at least 1, got 0",
			"CHORUS_LOG_LEVELS: no flag reads this variable: did you mean CHORUS_LOG_LEVEL?",
		}},
	} {
		clearEnv(t)
		for name, value := range tt.env {
			t.Setenv(name, value)
		}
		args := []string{"config", "check", "--config=" + settingsFile(t, tt.file)}
		if tt.code != exitOK {
			args = append(args, "--max-payload=0")
		}
		var stdout, stderr bytes.Buffer
		if code := Main(args, nil, &stdout, &stderr); code != tt.code {
			t.Errorf("%s: exit code %d, want %d; %s", tt.name, code, tt.code, stderr.String())
		}
		for _, part := range tt.want {
			if !strings.Contains(stderr.String(), part) {
				t.Errorf("%s: no %q in\n%s", tt.name, part, stderr.String())
			}
		}
	}
}

func TestConfigPrint(t *testing.T) {
	clearEnv(t)
	t.Setenv("CHORUS_PING_TIMEOUT", "9s")
	t.Setenv("CHORUS_REDIS_PASSWORD", "hunter2")
	file := settingsFile(t, "redis:\n  url: redis://user:hunter2@h:1?addr=h:2\nevents: ['a,b', c, 'null', '~']\ncluster: {secret: hunter2hunter2hunter2}\nrecovery: {window: 90s}\nadapter: redis-streams\n")
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"config", "print", "--config", file, "--no-page"}, nil, &stdout, &stderr); code != exitOK {
		t.Fatalf("config print: %d %s", code, stderr.String())
	}
	for _, line := range []string{
		"page: false # flag --page", "ping_timeout: 9s # environment CHORUS_PING_TIMEOUT", "ping_interval: 25s # default",
		"  window: 1m30s # file " + file + ":5: recovery.window", "  url: redis://user:***@h:1?addr=h%3A2 # file " + file + ":2: redis.url",
		"  password: '***' # environment CHORUS_REDIS_PASSWORD", "  secret: '***' # file " + file + ":4: cluster.secret",
		"events: ['a,b', c, \"null\", \"~\"] # file " + file + ":3: events", "  enabled: true # default", "  max_messages: 10000 # default",
	} {
		if !strings.Contains("\n"+stdout.String(), "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if strings.Contains(stdout.String(), "hunter2") {
		t.Error("a secret is printed")
	}
	if t.Failed() {
		t.Log(stdout.String())
	}
}

// The page is what the program says.
func TestConfigDocs(t *testing.T) {
	clearEnv(t)
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"config", "docs"}, nil, &stdout, &stderr); code != exitOK {
		t.Fatalf("config docs: %d %s", code, stderr.String())
	}
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, stdout.Bytes()) {
		t.Error("docs/configuration.md is not what the program says: run make docs")
	}
}

func TestNearest(t *testing.T) {
	names := []string{"redis.url", "redis.publish_queue", "log.level", "page"}
	for _, tt := range []struct{ name, want string }{
		{"redis.ulr", "redis.url"}, {"redis.publishqueue", "redis.publish_queue"}, {"loglevel", "log.level"}, {"pag", "page"}, {"something", ""}, {"x", ""},
	} {
		if got := nearest(tt.name, names); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}
