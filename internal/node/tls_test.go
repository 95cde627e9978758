package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// issue writes a certificate for 127.0.0.1 with its key into a folder.
func issue(t *testing.T, dir string, serial int64, end time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "chorus"}, NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

func tlsArgs(dir string) []string {
	return []string{"--tls.cert=" + filepath.Join(dir, "tls.crt"), "--tls.key=" + filepath.Join(dir, "tls.key")}
}

// serial connects and returns the number of the certificate that is shown.
func serial(t *testing.T, addr string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the number is what is asked for
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	pool := x509.NewCertPool()
	pool.AddCert(issue(t, dir, 1, inAnHour()))
	r := serve(t, tlsArgs(dir)...)
	public, internal := r.addrs()
	trusting := &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}}

	ws, response, err := (&websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool}}).Dial("wss://"+public+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatalf("wss: %v", err)
	}
	response.Body.Close()
	defer ws.Close()
	next := func(prefix string) {
		t.Helper()
		for {
			_ = ws.SetReadDeadline(time.Now().Add(patience))
			_, data, err := ws.ReadMessage()
			if err != nil {
				t.Fatalf("waiting for %s: %v", prefix, err)
			}
			if strings.HasPrefix(string(data), prefix) {
				return
			}
		}
	}
	next("0{")
	for packet, answer := range map[string]string{"40": "40{"} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(packet)); err != nil {
			t.Fatal(err)
		}
		next(answer)
	}

	transport := &http.Transport{TLSClientConfig: trusting, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	url := "https://" + public + "/socket.io/?EIO=4&transport=polling"
	request := func(method, query, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || response.ProtoMajor != 1 {
			t.Fatalf("%s %s: %s %s %q %v", method, query, response.Proto, response.Status, text, err)
		}
		return string(text)
	}
	_, sid, _ := strings.Cut(request(http.MethodGet, "", ""), `"sid":"`)
	sid, _, _ = strings.Cut(sid, `"`)
	request(http.MethodPost, "&sid="+sid, "40")
	if got := request(http.MethodGet, "&sid="+sid, ""); !strings.HasPrefix(got, "40{") {
		t.Errorf("polling over TLS: %q, want the answer to CONNECT", got)
	}
	request(http.MethodPost, "&sid="+sid, `42["chat message","over TLS"]`)
	if got := request(http.MethodGet, "&sid="+sid, ""); !strings.Contains(got, "over TLS") {
		t.Errorf("polling over TLS: %q, want the message", got)
	}
	next(`42["chat message","over TLS"]`)
	if _, body := get(t, "http://"+internal+"/metrics"); !strings.Contains(body, "\n"+`chorus_netloop_connections{form="portable"} 1`+"\n") {
		t.Error("the WebSocket is not served in the portable form")
	}
	if code, _ := get(t, "http://"+public+"/socket.io/"); code != http.StatusBadRequest {
		t.Errorf("without TLS: %d, want 400", code)
	}
}

func TestCertificatesThatCannotWork(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	issue(t, dir, 1, inAnHour())
	issue(t, other, 2, inAnHour())
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for _, tt := range []struct{ cert, key, reload, want string }{
		{cert, "", "0s", "--tls.cert: a certificate and its --tls.key go together"},
		{"", key, "0s", "--tls.cert: a certificate and its --tls.key go together"},
		{cert, filepath.Join(other, "tls.key"), "0s", "--tls.cert: tls: private key does not match public key"},
		{cert, cert, "0s", "--tls.cert: "},
		{"/none", key, "0s", "--tls.cert: open /none"},
		{cert, key, "10ms", "--tls.reload: must be 0s or at least 1s"},
	} {
		_, err := parse(t, []string{"--tls.cert=" + tt.cert, "--tls.key=" + tt.key, "--tls.reload=" + tt.reload}, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// Kubernetes puts a renewed secret into a new folder and turns a symbolic link to it.
func TestCertificateIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		turn := func(folder string) {
			t.Helper()
			link := filepath.Join(dir, "fresh")
			if err := errors.Join(os.Symlink(folder, link), os.Rename(link, filepath.Join(dir, "..data"))); err != nil {
				t.Fatal(err)
			}
		}
		for i, name := range []string{"first", "second"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			issue(t, filepath.Join(dir, name), int64(i+1), inAnHour())
		}
		turn("first")
		files := tlsConfig{Cert: filepath.Join(dir, "..data", "tls.crt"), Key: filepath.Join(dir, "..data", "tls.key"), Reload: time.Minute}
		c, err := files.load()
		if err != nil {
			t.Fatal(err)
		}
		var log buffer
		counted := map[bool]int{}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.watch(ctx, files.Reload, slog.New(slog.NewTextHandler(&log, nil)), func(err error) { counted[err == nil]++ })
		}()
		tick := func() {
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		shows := func(want int64, ok, failed int) {
			t.Helper()
			if got := c.leaf().SerialNumber.Int64(); got != want || counted[true] != ok || counted[false] != failed {
				t.Errorf("certificate %d, %v counted; want %d, %d good and %d bad\n%s", got, counted, want, ok, failed, log.String())
			}
		}
		tick()
		shows(1, 0, 0)
		turn("second")
		tick()
		shows(2, 1, 0)
		turn("nowhere")
		tick()
		tick()
		shows(2, 1, 1) // told once
		turn("first")
		tick()
		shows(1, 2, 1)
		stop()
		<-done
	})
}

// What the watch read is late when SIGHUP has named other files meanwhile.
func TestCertificateThatWasReplacedIsNotRenewed(t *testing.T) {
	pairs := make([]*certificate, 3)
	for i := range pairs {
		dir := t.TempDir()
		issue(t, dir, int64(i), inAnHour())
		files := tlsConfig{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
		var err error
		if pairs[i], err = files.load(); err != nil {
			t.Fatal(err)
		}
	}
	c, renewed, other := pairs[0], pairs[1], pairs[2]
	before := c.current.Load()
	if !c.replace(other) {
		t.Error("another certificate is said to be the same")
	}
	if c.renew(before, renewed) || c.leaf().SerialNumber.Int64() != 2 {
		t.Errorf("certificate %d, want that of the other files", c.leaf().SerialNumber)
	}
	if !c.renew(c.current.Load(), renewed) || c.leaf().SerialNumber.Int64() != 1 {
		t.Errorf("certificate %d, want the renewed one", c.leaf().SerialNumber)
	}
}

// Anybody who connects to the port can make TLS handshakes fail, so they are no warnings.
func TestFailedHandshakesAreForDebugging(t *testing.T) {
	dir := t.TempDir()
	issue(t, dir, 1, inAnHour())
	r := serve(t, append(tlsArgs(dir), "--log.level=debug")...)
	public, _ := r.addrs()
	if _, err := tls.Dial("tcp", public, &tls.Config{}); err == nil { //nolint:gosec // the certificate is nobody's
		t.Fatal("the certificate was believed")
	}
	r.until("it is logged", func() bool { return strings.Contains(r.stderr.String(), "TLS handshake error") })
	for line := range strings.Lines(r.stderr.String()) {
		if strings.Contains(line, "TLS handshake error") && !strings.Contains(line, `"level":"DEBUG"`) {
			t.Errorf("logged as %s", line)
		}
	}
}
