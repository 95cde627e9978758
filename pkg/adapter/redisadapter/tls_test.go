package redisadapter_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/adapter/adaptertest"
	"example.com/chorus/pkg/adapter/redisadapter"
)

// certificate makes one for 127.0.0.1 that signs itself, in files.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8), pool
}

// TLS, and a user who may do no more than each mode of the adapter needs.
func TestTLSAndRestrictedUser(t *testing.T) {
	cert, key, pool := certificate(t)
	secure := freeAddr(t)
	_, port, _ := net.SplitHostPort(secure)
	// What the documentation tells to allow.
	server := startRedis(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	server.do(t, "ACL", "SETUSER", "chorus", "on", ">secret", "resetkeys", "~socket.io*", "~sio:session:*", "resetchannels", "&socket.io*",
		"-@all", "+@connection", "+@pubsub", "+@stream", "+get", "+set", "+del", "+multi", "+exec", "+info", "+role")
	for name, connect := range map[string]func(redis.UniversalClient) adapter.Adapter{
		"classic": func(rdb redis.UniversalClient) adapter.Adapter {
			return redisadapter.NewPubSub(rdb, &redisadapter.Options{Logger: quiet(nil)})
		},
		"sharded": func(rdb redis.UniversalClient) adapter.Adapter {
			return redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: redisadapter.Options{Logger: quiet(nil)}})
		},
		"streams": func(rdb redis.UniversalClient) adapter.Adapter {
			return redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: redisadapter.Options{Logger: quiet(nil)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			adapters := make([]adapter.Adapter, 2)
			for i := range adapters {
				rdb := redis.NewClient(&redis.Options{
					Addr: secure, Username: "chorus", Password: "secret", TLSConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
				})
				a := connect(rdb)
				t.Cleanup(func() {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					if err := a.Close(ctx); err != nil {
						t.Errorf("Close: %v", err)
					}
					_ = rdb.Close()
				})
				adapters[i] = a
			}
			nodes := adaptertest.Join(t, adapters, "/", "room")
			awaitHeard(t, nodes[0], nodes[1], "to all")
			awaitHeard(t, nodes[1], nodes[0], "to a room", "room")
			eventually(t, "they know each other", func() bool {
				found, err := nodes[0].Link.(adapter.Requester).Nodes(t.Context())
				return err == nil && len(found) == len(nodes)
			})
		})
	}
}
