//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long a server may take to end before it is killed.
const stopPatience = 10 * time.Second

// A server is a process that a run started and will end.
type server struct {
	name string
	cmd  *exec.Cmd
	log  tail
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done
}

type servers []*server

// startServer starts a program with env added to the environment.
func startServer(name string, env []string, program string, args ...string) (*server, error) {
	s := &server{name: name, cmd: exec.Command(program, args...), done: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us; we end it
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop ends the process and waits for its end.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt) // fails only if it has ended
	select {
	case <-s.done:
	case <-time.After(stopPatience):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

func (all servers) stop() {
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(s.stop)
	}
	wg.Wait()
}

// waitReady waits until every target accepts connections.
func (all servers) waitReady(ctx context.Context, targets []target) error {
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("not ready after 20s"))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, t := range targets {
		for !accepts(ctx, t.addr) {
			if err := all.ended(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("server at %s: %w", t.addr, context.Cause(ctx))
			case <-tick.C:
			}
		}
	}
	return all.ended()
}

// ended reports a server that has ended too early.
func (all servers) ended() error {
	for _, s := range all {
		select {
		case <-s.done:
			return fmt.Errorf("%s ended: %v\n%s", s.name, s.err, s.log.text())
		default:
		}
	}
	return nil
}

func accepts(ctx context.Context, addr string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// tail keeps the last output of a process.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - tailBytes; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
