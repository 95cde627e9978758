package engineio

import (
	"flag"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"

	"example.com/chorus/internal/netloop"
)

// netLoop is the form in which tests serve connections.
var netLoop = netloop.Auto

// TestMain runs all tests twice, once for each form; benchmarks and fuzzing only in the first.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && flag.Lookup("test.bench").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		netLoop = netloop.Portable
		code = m.Run()
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}
