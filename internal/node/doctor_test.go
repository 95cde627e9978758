package node

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"example.com/chorus/internal/doctor"
)

// examine runs the command and returns its findings by area and name.
func examine(t *testing.T, args ...string) (code int, checks map[string]doctor.Check) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(append([]string{"doctor", "--json"}, args...), nil, &stdout, &stderr)
	var report struct {
		OK     bool
		Checks []doctor.Check
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("doctor %q: %d %v\n%s%s", args, code, err, stdout.String(), stderr.String())
	}
	if report.OK != (code == exitOK) {
		t.Errorf("exit code %d beside ok: %t", code, report.OK)
	}
	if strings.Contains(stdout.String()+stderr.String(), "hunter2") {
		t.Errorf("a secret is shown: %s%s", stdout.String(), stderr.String())
	}
	checks = make(map[string]doctor.Check)
	for _, c := range report.Checks {
		checks[c.Area+" "+c.Name] = c
	}
	return code, checks
}

// redisWith answers some commands in place of miniredis, which has no settings and no users.
func redisWith(t *testing.T, answers map[string]func(*server.Peer)) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.RunT(t)
	m.Server().SetPreHook(func(c *server.Peer, command string, args ...string) bool {
		name := strings.ToUpper(command)
		if f := answers[strings.TrimSpace(name+" "+strings.Join(args, " "))]; f != nil {
			f(c)
			return true
		}
		if f := answers[name]; f != nil {
			f(c)
			return true
		}
		return false
	})
	return m
}

func pair(name, value string) func(*server.Peer) {
	return func(c *server.Peer) { c.WriteMapLen(1); c.WriteBulk(name); c.WriteBulk(value) }
}

// answers are those of a Redis of the given version, limits and clock.
func answers(version, pubsub, timeout string, ahead time.Duration) map[string]func(*server.Peer) {
	return map[string]func(*server.Peer){
		"INFO":                                  func(c *server.Peer) { c.WriteBulk("# Server\r\nredis_version:" + version + "\r\n") },
		"CONFIG get client-output-buffer-limit": pair("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub "+pubsub),
		"CONFIG get tcp-keepalive":              pair("tcp-keepalive", "60"),
		"CONFIG get timeout":                    pair("timeout", timeout),
		"ROLE":                                  func(c *server.Peer) { c.WriteLen(1); c.WriteBulk("master") },
		"TIME": func(c *server.Peer) {
			clock := time.Now().Add(ahead)
			c.WriteStrings([]string{strconv.FormatInt(clock.Unix(), 10), strconv.Itoa(clock.Nanosecond() / 1000)})
		},
	}
}

func TestDoctorOfRedis(t *testing.T) {
	clearEnv(t)
	good := func() map[string]func(*server.Peer) {
		return answers("7.0.15", "268435456 134217728 60", "0", 0)
	}
	forbidden := func(c *server.Peer) { c.WriteError("NOPERM this user has no permissions") }
	for _, tt := range []struct {
		name    string
		answers map[string]func(*server.Peer)
		args    []string
		check   string
		want    doctor.Status
		found   string
	}{
		{"well", good(), nil, "redis reachable", doctor.OK, "answers in"},
		{"well", good(), nil, "redis version", doctor.OK, "7.0.15"},
		{"well", good(), nil, "redis client-output-buffer-limit pubsub", doctor.OK, "256mb 128mb 60"},
		{"well", good(), nil, "redis timeout", doctor.OK, "0"},
		{"well", good(), nil, "redis commands and channels", doctor.OK, "6 tried"},
		{"well", good(), []string{"--redis.subscription=pattern"}, "redis commands and channels", doctor.OK, "7 tried"},
		{"well", good(), []string{"--adapter=redis-streams"}, "redis commands and channels", doctor.OK, "12 tried"},
		{"well", good(), nil, "redis clock", doctor.OK, "apart"},
		{"well", good(), nil, "cluster cluster.advertise", doctor.OK, "127.0.0.1:9464"},
		{"old for shards", answers("6.2.7", "0 0 0", "0", 0), []string{"--adapter=redis-sharded"}, "redis version", doctor.Fail, "6.2.7"},
		{"no limit", answers("6.2.7", "0 0 0", "0", 0), nil, "redis client-output-buffer-limit pubsub", doctor.OK, "unlimited"},
		{"as it comes", answers("7.0.15", "33554432 8388608 60", "0", 0), nil, "redis client-output-buffer-limit pubsub", doctor.Warn, "32mb 8mb 60"},
		{"closes idle connections", answers("7.0.15", "0 0 0", "30", 0), nil, "redis timeout", doctor.Warn, "30"},
		{"clock ahead", answers("7.0.15", "0 0 0", "0", time.Minute), nil, "redis clock", doctor.Fail, "apart"},
		{"clock behind", answers("7.0.15", "0 0 0", "0", -3*time.Second), nil, "redis clock", doctor.Warn, "apart"},
		{"no TIME", with(good(), "TIME", forbidden), nil, "redis clock", doctor.Unknown, "may not ask"},
		{"no CONFIG", with(good(), "CONFIG get timeout", forbidden), nil, "redis timeout", doctor.Unknown, "may not ask"},
		{"no INFO", with(good(), "INFO", forbidden), nil, "redis version", doctor.Unknown, "may not ask"},
		{"no PUBLISH", with(with(good(), "PUBLISH", forbidden), "SUBSCRIBE", forbidden), nil, "redis commands and channels", doctor.Fail, "may not: PUBLISH, SUBSCRIBE"},
		{"broken", with(good(), "SET", func(c *server.Peer) { c.WriteError("MISCONF disk") }), nil, "redis commands and channels", doctor.Fail, "SET: MISCONF"},
	} {
		t.Run(tt.name+" "+tt.check, func(t *testing.T) {
			m := redisWith(t, tt.answers)
			code, checks := examine(t, append(tt.args, "--redis.url=redis://"+m.Addr(), "--connections=10")...)
			c := checks[tt.check]
			if c.Status != tt.want || !strings.Contains(c.Found, tt.found) {
				t.Errorf("%+v, want %s and %q", c, tt.want, tt.found)
			}
			if (c.Status == doctor.Fail) != (code == exitFailure) {
				t.Errorf("exit code %d", code)
			}
			for _, key := range m.Keys() {
				if !strings.HasSuffix(key, "chorus-doctor") || m.TTL(key) == 0 {
					t.Errorf("the key %s stays in Redis", key)
				}
			}
		})
	}
}

func with(answers map[string]func(*server.Peer), command string, f func(*server.Peer)) map[string]func(*server.Peer) {
	answers[command] = f
	return answers
}

func TestDoctorWithoutRedis(t *testing.T) {
	clearEnv(t)
	code, checks := examine(t, "--redis.url=redis://user:hunter2@127.0.0.1:1", "--connections=10")
	if c := checks["redis reachable"]; code != exitFailure || c.Status != doctor.Fail || !strings.Contains(c.Found, "refused") {
		t.Errorf("%d, %+v", code, c)
	}
	m := miniredis.RunT(t)
	m.RequireUserAuth("user", "right")
	_, checks = examine(t, "--redis.url=redis://user:hunter2@"+m.Addr())
	if c := checks["redis reachable"]; c.Status != doctor.Fail || !strings.Contains(c.Found, "WRONGPASS") {
		t.Errorf("%+v", c)
	}
}

func TestDoctorOfSettings(t *testing.T) {
	clearEnv(t)
	t.Setenv("CHORUS_PORT", "tcp://10.0.0.1:3000")
	code, checks := examine(t, "--ping-timeout=0s", "--redis.url=redis://127.0.0.1:1")
	if c := checks["settings value"]; code != exitFailure || c.Status != doctor.Fail || !strings.Contains(c.Found, "--ping-timeout: must be at least 1ms") {
		t.Errorf("%d, %+v", code, c)
	}
	if c := checks["settings variable"]; c.Status != doctor.Warn || c.Found != "CHORUS_PORT" {
		t.Errorf("%+v", c)
	}
	if _, asked := checks["redis reachable"]; asked || len(checks) < 10 {
		t.Errorf("with bad settings %d checks, Redis asked: %t", len(checks), asked)
	}
	_, checks = examine(t, "--limits.connections=1000000000")
	if c := checks["process nofile"]; c.Status != doctor.Fail || c.Wanted != ">= 1100000000" {
		t.Errorf("scaled by the limit of connections: %+v", c)
	}
}

func TestDoctorOfCertificate(t *testing.T) {
	clearEnv(t)
	for _, tt := range []struct {
		end  time.Duration
		want doctor.Status
	}{{-time.Minute, doctor.Fail}, {24 * time.Hour, doctor.Warn}, {30 * 24 * time.Hour, doctor.OK}} {
		dir := t.TempDir()
		issue(t, dir, 1, time.Now().Add(tt.end))
		_, checks := examine(t, "--connections=10", "--tls.cert="+filepath.Join(dir, "tls.crt"), "--tls.key="+filepath.Join(dir, "tls.key"))
		if c := checks["settings tls.cert"]; c.Status != tt.want {
			t.Errorf("that ends in %v: %+v, want %s", tt.end, c, tt.want)
		}
	}
}

func TestDoctorOfAdvertised(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want doctor.Status
	}{
		{[]string{"--redis.url=redis://192.0.2.1"}, doctor.Warn},
		{[]string{"--redis.url=redis://127.0.0.1"}, doctor.OK},
		{[]string{"--redis.url=redis://192.0.2.1", "--internal-addr=:9464"}, doctor.OK},
		{[]string{"--redis.url=redis://192.0.2.1", "--cluster.advertise=node1.example"}, doctor.OK},
		{[]string{"--redis.url=redis://192.0.2.1", "--no-node.forward"}, doctor.OK},
	} {
		cli, err := parse(t, append([]string{"doctor"}, tt.args...), nil)
		if err != nil {
			t.Fatal(err)
		}
		if c := cli.Doctor.examineAdvertised(); c.Status != tt.want {
			t.Errorf("%q: %+v, want %s", tt.args, c, tt.want)
		}
	}
}

func TestDoctorTable(t *testing.T) {
	clearEnv(t)
	var stdout, stderr bytes.Buffer
	code := Main([]string{"doctor", "--connections=10"}, nil, &stdout, &stderr)
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	if code != exitOK && !strings.Contains(stdout.String(), "\nFAIL") || len(lines) < 15 || !strings.HasPrefix(lines[0], "STATUS") || stderr.Len() > 0 {
		t.Errorf("exit code %d\n%s%s", code, stdout.String(), stderr.String())
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "process: nofile") }) {
		t.Errorf("no row for nofile:\n%s", stdout.String())
	}
	for _, args := range [][]string{{"--connections=-1"}, {"--timeout=0s"}} {
		if code := Main(append([]string{"doctor"}, args...), nil, &stdout, &stderr); code != exitFailure {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
