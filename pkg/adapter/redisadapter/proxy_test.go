package redisadapter_test

import (
	"bytes"
	"net"
	"regexp"
	"sync"
	"testing"
)

// proxy forwards TCP connections until it is told to swallow what comes on them.
type proxy struct {
	addr    string
	target  string
	running sync.WaitGroup

	mu        sync.Mutex
	questions chan struct{} // closed for the connections that swallow what clients say
	answers   chan struct{} // closed for the connections that swallow what the server says
	pushes    chan struct{} // closed for the connections that swallow what was published, and let pongs pass
	all       []net.Conn
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target, questions: make(chan struct{}), answers: make(chan struct{}), pushes: make(chan struct{})}
	p.running.Go(func() { p.accept(l) })
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.all {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

func (p *proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		questions, answers, pushes := p.questions, p.answers, p.pushes
		p.all = append(p.all, client, server)
		p.mu.Unlock()
		p.running.Go(func() { forward(server, client, questions, nil) })
		p.running.Go(func() { forward(client, server, answers, pushes) })
	}
}

// pongs are the answers to pings on a connection that listens.
var pongs = regexp.MustCompile("\\*2\r\n\\$4\r\npong\r\n\\$[0-9]+\r\n[^\r]*\r\n")

func forward(to, from net.Conn, deaf, pushes <-chan struct{}) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32<<10)
	listens := false
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-deaf:
			continue
		default:
		}
		data := buf[:n]
		listens = listens || bytes.Contains(data, []byte("subscribe"))
		select {
		case <-pushes:
			if listens {
				data = bytes.Join(pongs.FindAll(data, -1), nil)
			}
		default:
		}
		if _, err := to.Write(data); err != nil {
			return
		}
	}
}

// swallow makes the connections that exist deaf and dumb; new ones work.
func (p *proxy) swallow() {
	p.mu.Lock()
	close(p.questions)
	p.questions = make(chan struct{})
	p.mu.Unlock()
	p.swallowAnswers()
}

// swallowAnswers lets clients hear nothing on the connections that exist.
func (p *proxy) swallowAnswers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.answers)
	p.answers = make(chan struct{})
}

// swallowPushes lets clients hear only pongs on the connections that listen.
func (p *proxy) swallowPushes() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.pushes)
	p.pushes = make(chan struct{})
}
