package node

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

// hangUp sends SIGHUP to this process, of which the running programs are a part, and returns what is logged next.
func (r *running) hangUp(message string) string {
	r.t.Helper()
	caught := make(chan os.Signal, 1) // else it would end the tests, should a program not catch it
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	before := len(r.stderr.String())
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
	var line string
	r.until("it logs: "+message, func() bool {
		_, rest, found := strings.Cut(r.stderr.String()[before:], `"msg":"`+message+`"`)
		line, _, _ = strings.Cut(rest, "\n")
		return found
	})
	return line
}

// corsAllows reports whether pages of the origin may read answers.
func corsAllows(t *testing.T, client *http.Client, url, origin string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", origin)
	response, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.Header.Get("Access-Control-Allow-Origin") == origin
}

func TestReload(t *testing.T) {
	file := settingsFile(t, "cors: {origins: ['https://one.example']}\nlog: {level: warn}\n")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CHORUS_CLUSTER_SECRET", "")
	r := serve(t, "--config="+file, "--log.level=info")
	public, internal := r.addrs()
	client := newClient(t)
	allows := func(origin string) bool { return corsAllows(t, client, "http://"+public, origin) }
	if !allows("https://one.example") || allows("https://two.example") {
		t.Fatal("the origins are not those of the file")
	}
	a := join(t, public)

	write("cors: {origins: ['https://two.example']}\nlog: {level: debug}\nqueue: {messages: 7}\ncluster: {secret: hunter2hunter2hunter2}\n")
	line := r.hangUp("settings are reloaded")
	for _, part := range []string{
		`"changed":["cors.origins: https://two.example (was https://one.example)"]`, // the level is that of the flag, as before
		`"need_restart":["cluster.secret","queue.messages"]`,
	} {
		if !strings.Contains(line, part) {
			t.Errorf("logged %s, want %s", line, part)
		}
	}
	if allows("https://one.example") || !allows("https://two.example") {
		t.Error("the origins are not the new ones")
	}

	write("cors: {origins: ['https://three.example']}\nlog: {levle: debug}\nping_interval: soon\n")
	line = r.hangUp("settings are not reloaded, those before stay")
	for _, part := range []string{":2: log.levle: there is no such key: did you mean log.level?", `:3: ping_interval: \"soon\" is not a duration`} {
		if !strings.Contains(line, part) {
			t.Errorf("logged %s, want %s", line, part)
		}
	}
	if !allows("https://two.example") || allows("https://three.example") {
		t.Error("a bad file changed the origins")
	}

	write("queue: {messages: 7}\n")
	if line := r.hangUp("settings are reloaded"); !strings.Contains(line, `"need_restart":["queue.messages"]`) || allows("https://two.example") {
		t.Errorf("without origins, logged %s", line)
	}
	a.write(`42["chat message","still here"]`)
	a.read(`42["chat message","still here"]`)
	_, metrics := get(t, "http://"+internal+"/metrics")
	for result, n := range map[string]int{"ok": 2, "error": 1} {
		if want := fmt.Sprintf("\nchorus_config_reloads_total{result=%q} %d\n", result, n); !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if strings.Contains(r.stderr.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
}

// A secret that changed in its file is not taken over, and the operator must hear of it.
func TestReloadOfASecretInAFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hunter2hunter2hunter2")
	r := serve(t, "--cluster.secret-file="+secret)
	r.addrs() // it listens
	for _, step := range []struct{ text, later string }{
		{"hunter2hunter2hunter2", `[]`}, {"hunter2hunter2hunter3", `["cluster.secret_file"]`}, {"hunter2hunter2hunter2", `[]`},
	} {
		write(step.text)
		if line := r.hangUp("settings are reloaded"); !strings.Contains(line, `"changed":[],"need_restart":`+step.later) {
			t.Errorf("logged %s, want %s", line, step.later)
		}
	}
	if strings.Contains(r.stderr.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
}

func TestReloadTheLevel(t *testing.T) {
	file := settingsFile(t, "log: {level: info}\n")
	r := start(t, "serve", "--addr=127.0.0.1:0", "--internal-addr=127.0.0.1:0", "--config="+file, "--redis.url=redis://"+miniredis.RunT(t).Addr())
	public, _ := r.addrs()
	a := join(t, public)
	say := func(word string) {
		t.Helper()
		a.write(`42["chat message","` + word + `"]`)
		a.read(`42["chat message","` + word + `"]`)
	}
	for _, step := range []struct{ level, line string }{
		{"debug", `"changed":["log.level: debug (was info)"]`}, {"error", `"changed":["log.level: error (was debug)"]`},
		{"debug", `"changed":["log.level: debug (was error)"]`},
	} {
		if err := os.WriteFile(file, []byte("log: {level: "+step.level+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if line := r.hangUp("settings are reloaded"); !strings.Contains(line, step.line) || !strings.Contains(line, `"need_restart":[]`) {
			t.Errorf("logged %s, want %s", line, step.line)
		}
		say("said at " + step.level)
	}
	r.until("the text of messages is logged", func() bool { return strings.Count(r.stderr.String(), `said at debug`) == 2 })
	if strings.Contains(r.stderr.String(), "said at error") {
		t.Error("a message was logged at the level error")
	}
}

func TestReloadTheCertificate(t *testing.T) {
	dir := t.TempDir()
	issue(t, dir, 1, inAnHour())
	r := serve(t, tlsArgs(dir)...)
	public, _ := r.addrs()
	if got := serial(t, public); got != 1 {
		t.Fatalf("certificate %d, want the first", got)
	}
	issue(t, dir, 2, inAnHour())
	if line := r.hangUp("settings are reloaded"); !strings.Contains(line, `"changed":["certificate until `) {
		t.Errorf("logged %s", line)
	}
	if got := serial(t, public); got != 2 {
		t.Errorf("certificate %d, want the second", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if line := r.hangUp("settings are not reloaded, those before stay"); !strings.Contains(line, "--tls.cert: ") {
		t.Errorf("logged %s", line)
	}
	if got := serial(t, public); got != 2 {
		t.Errorf("certificate %d, want the second still", got)
	}
}
