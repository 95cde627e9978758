package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

var errClusterDown = errors.New("the cluster of Redis is down")

// askMasters asks one server after the other who is in charge of the slots, those first that are heard, and returns the
// first answer with the address of the server that gave it. That of a server which finds the cluster down counts only if no other is found:
// it may have been cut off.
func (s *shards) askMasters(ctx context.Context) (slots []redis.ClusterSlot, origin string, err error) {
	s.mu.Lock()
	var known, silent []string
	for addr, sh := range s.masters { // in random order
		if sh.subscriber.isWhole() {
			known = append(known, addr)
		} else {
			silent = append(silent, addr)
		}
	}
	s.mu.Unlock()
	known = append(known, silent...)
	for _, seed := range s.seeds {
		if !slices.Contains(known, seed) {
			known = append(known, seed)
		}
	}
	var errs []error
	for _, addr := range known {
		answer, err := s.askServer(ctx, addr)
		switch {
		case err == nil:
			return answer, addr, nil
		case errors.Is(err, errClusterDown) && slots == nil:
			slots, origin = answer, addr
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
	}
	if slots != nil {
		return slots, origin, nil
	}
	return nil, "", errors.Join(append(errs, errNoMasterKnown)...)
}

// askServer asks one server. With errClusterDown there is an answer nevertheless.
func (s *shards) askServer(ctx context.Context, addr string) ([]redis.ClusterSlot, error) {
	s.mu.Lock()
	var rdb *redis.Client
	if sh := s.masters[addr]; sh != nil {
		rdb = sh.rdb
	}
	s.mu.Unlock()
	if rdb == nil {
		rdb = newServerClient(s.line.life, s.options(addr), s.line.opts.Watchdog)
		defer func() { _ = rdb.Close() }()
	}
	ctx, cancel := context.WithTimeout(ctx, s.line.opts.Watchdog)
	defer cancel()
	pipe := rdb.Pipeline()
	info, slots := pipe.ClusterInfo(ctx), pipe.ClusterSlots(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	if len(slots.Val()) == 0 {
		return nil, errors.New("no slot is assigned")
	}
	if !strings.Contains(info.Val(), "cluster_state:ok") {
		return slots.Val(), errClusterDown
	}
	return slots.Val(), nil
}

// movedSlot returns the slot that a refusal is about, or -1.
func movedSlot(err error) int {
	fields := strings.Fields(err.Error()) // MOVED 3999 127.0.0.1:6381
	for i, word := range fields {
		if word == "MOVED" && i+1 < len(fields) {
			if slot, err := strconv.Atoi(fields[i+1]); err == nil {
				return slot
			}
		}
	}
	return -1
}

// reachable returns the address of a server as another one gave it, so that it can be reached from here: a server that
// does not know its own name means the one that was asked for it, and one behind a forwarded port calls itself local.
func reachable(addr, origin string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	from, _, err := net.SplitHostPort(origin)
	if err != nil {
		return addr
	}
	if host == "" || host == "?" || isLoopback(host) && !isLoopback(from) {
		return net.JoinHostPort(from, port)
	}
	return addr
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// serverOptions returns the options of connections to single servers of a cluster.
func serverOptions(c *redis.ClusterClient) func(addr string) redis.Options {
	o := c.Options()
	return func(addr string) redis.Options {
		one := redis.Options{
			Addr: addr, ClientName: o.ClientName, Username: o.Username, Password: o.Password, Dialer: o.Dialer, TLSConfig: o.TLSConfig,
			CredentialsProvider: o.CredentialsProvider, CredentialsProviderContext: o.CredentialsProviderContext,
			StreamingCredentialsProvider: o.StreamingCredentialsProvider, OnConnect: o.OnConnect,
			DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, DisableIdentity: o.DisableIdentity,
		}
		if o.NewClient != nil { // it may translate addresses
			made := o.NewClient(&one)
			one = *made.Options()
			_ = made.Close()
		}
		if one.Dialer == nil {
			one.Dialer = redis.NewDialer(&one)
		}
		return one
	}
}
