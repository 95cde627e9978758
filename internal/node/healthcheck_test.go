package node

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// healthcheck runs the command.
func healthcheck(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(append([]string{"healthcheck"}, args...), nil, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func TestHealthcheck(t *testing.T) {
	m := miniredis.RunT(t)
	r := serve(t, "--redis.url=redis://"+m.Addr(), "--redis.degraded=refuse")
	_, internal := r.addrs()
	r.until("it is ready", func() bool { code, _ := healthcheck(t, "--addr="+internal, "--ready"); return code == exitOK })
	if code, out := healthcheck(t, "--addr="+internal); code != exitOK || !strings.Contains(out, `"status":"ok"`) {
		t.Errorf("of a live node: %d %s", code, out)
	}
	t.Setenv("CHORUS_INTERNAL_ADDR", internal)
	if code, out := healthcheck(t); code != exitOK {
		t.Errorf("by the node's own variable: %d %s", code, out)
	}
	if code, out := healthcheck(t, "--config="+settingsFile(t, "internal_addr: 127.0.0.1:1\naddr: [':3000', ':3001']\n")); code != exitOK {
		t.Errorf("with a file behind the variable: %d %s", code, out)
	}
	m.Close()
	r.until("it is not ready", func() bool { code, _ := healthcheck(t, "--ready"); return code == exitFailure })
	if code, out := healthcheck(t, "--ready"); code != exitFailure || !strings.Contains(out, "503") || !strings.Contains(out, "unavailable") {
		t.Errorf("of a node that is not ready: %d %s", code, out)
	}
	if code, out := healthcheck(t); code != exitOK {
		t.Errorf("alive without Redis: %d %s", code, out)
	}
}

func TestHealthcheckOfNobody(t *testing.T) {
	clearEnv(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	begin := time.Now()
	if code, out := healthcheck(t, "--addr="+silent.Addr().String(), "--timeout=50ms"); code != exitFailure || time.Since(begin) > patience {
		t.Errorf("of a node that hangs: %d %s", code, out)
	}
	for _, args := range [][]string{{"--addr=x"}, {"--internal-addr="}, {"--timeout=0s"}} {
		if code, out := healthcheck(t, args...); code != exitUsage {
			t.Errorf("%q: %d %s", args, code, out)
		}
	}
}

func TestAddressOfAnAskedNode(t *testing.T) {
	for listen, want := range map[string]string{
		":9464": "127.0.0.1:9464", "0.0.0.0:9464": "127.0.0.1:9464", "[::]:9464": "[::1]:9464",
		"10.0.0.7:9464": "10.0.0.7:9464", "localhost:9464": "localhost:9464",
	} {
		for _, n := range []askedNode{{Addr: listen}, {InternalAddr: listen}} {
			if got := n.address(); got != want {
				t.Errorf("%+v: %q, want %q", n, got, want)
			}
		}
	}
}
