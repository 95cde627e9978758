package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/chorus/internal/doctor"
)

// Clocks that differ by more than clockLimit make nodes refuse what others pass on to them.
const (
	clockLimit = 5 * time.Second
	clockSoon  = time.Second
)

// redisDoctor examines Redis as a node would use it.
type redisDoctor struct {
	config *config
	client redis.UniversalClient
	checks []doctor.Check
}

func (c *doctorCommand) examineRedis(ctx context.Context) []doctor.Check {
	client, err := c.redisClient()
	if err != nil {
		return []doctor.Check{{Status: doctor.Fail, Area: "redis", Name: "reachable", Found: err.Error()}}
	}
	redis.SetLogger(redisLog{slog.New(slog.DiscardHandler)}) // what it has to say is in the findings
	d := &redisDoctor{config: &c.config, client: client}
	if d.reach(ctx) {
		d.version(ctx)
		d.outputBuffer(ctx)
		d.number(ctx, "tcp-keepalive", 60, func(n int) bool { return n > 0 && n <= 60 })
		d.number(ctx, "timeout", 0, func(n int) bool { return n == 0 })
		d.commands(ctx)
		d.clock(ctx)
	}
	if err := client.Close(); err != nil {
		d.add(doctor.Unknown, "close", err.Error(), "", "")
	}
	return d.checks
}

func (d *redisDoctor) add(status doctor.Status, name, found, wanted, remedy string) {
	d.checks = append(d.checks, doctor.Check{
		Status: status, Area: "redis", Name: name, Found: d.config.hideSecrets(found), Wanted: wanted, Remedy: remedy,
	})
}

func (d *redisDoctor) reach(ctx context.Context) bool {
	begin := time.Now()
	if err := d.client.Ping(ctx).Err(); err != nil {
		d.add(doctor.Fail, "reachable", err.Error(), "an answer from "+d.config.Redis.place(), "start it, or mend --redis.url and its password")
		return false
	}
	d.add(doctor.OK, "reachable", fmt.Sprintf("%s answers in %s", d.config.Redis.place(), time.Since(begin).Round(10*time.Microsecond)), "", "")
	return true
}

// least are the versions from which on Redis has what an adapter uses.
var least = map[string]int{adapterRedis: 3, adapterStreams: 5, adapterSharded: 7}

func (d *redisDoctor) version(ctx context.Context) {
	want := least[d.config.adapterName()]
	info, err := d.client.Info(ctx, "server").Result()
	version := infoField(info, "redis_version")
	if err != nil || version == "" {
		d.add(doctor.Unknown, "version", found(err, "INFO does not tell it"), fmt.Sprintf(">= %d", want), "")
		return
	}
	status, remedy := doctor.OK, ""
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < want {
		status, remedy = doctor.Fail, fmt.Sprintf("--adapter=%s needs Redis %d", d.config.adapterName(), want)
	}
	d.add(status, "version", version, fmt.Sprintf(">= %d", want), remedy)
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// found says what was found instead of an answer.
func found(err error, otherwise string) string {
	switch {
	case err == nil:
		return otherwise
	case isForbidden(err):
		return "the user of Redis may not ask"
	}
	return err.Error()
}

// isForbidden reports whether the user of Redis lacks a permission. In a transaction Redis says so before the end, of
// which the client knows only that it came to nothing.
func isForbidden(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "NOPERM") || strings.HasPrefix(err.Error(), "EXECABORT"))
}

// setting returns a value of CONFIG GET.
func (d *redisDoctor) setting(ctx context.Context, name string) (string, error) {
	values, err := d.client.ConfigGet(ctx, name).Result()
	if err == nil && values[name] == "" {
		err = errors.New("CONFIG GET does not tell it")
	}
	return values[name], err
}

// outputBuffer judges how much may wait for a subscriber: Redis cuts off a node that stalls, and what waited is lost.
func (d *redisDoctor) outputBuffer(ctx context.Context) {
	const key, name, hard, wanted = "client-output-buffer-limit", "client-output-buffer-limit pubsub", 256 << 20, "256mb 128mb 60"
	text, err := d.setting(ctx, key)
	if err != nil {
		d.add(doctor.Unknown, name, found(err, ""), wanted, "")
		return
	}
	fields := strings.Fields(text)
	i := slices.Index(fields, "pubsub")
	if i < 0 || i+3 >= len(fields) {
		d.add(doctor.Unknown, name, text, wanted, "")
		return
	}
	limits := make([]int64, 3)
	for j := range limits {
		if limits[j], err = strconv.ParseInt(fields[i+1+j], 10, 64); err != nil {
			d.add(doctor.Unknown, name, text, wanted, "")
			return
		}
	}
	status, remedy := doctor.OK, ""
	if limits[0] != 0 && limits[0] < hard {
		status, remedy = doctor.Warn, fmt.Sprintf("redis-cli CONFIG SET %s 'pubsub %s', and in redis.conf", key, wanted)
	}
	d.add(status, name, fmt.Sprintf("%s %s %d", mebibytes(limits[0]), mebibytes(limits[1]), limits[2]), ">= "+wanted, remedy)
}

// number judges a number of the configuration.
func (d *redisDoctor) number(ctx context.Context, name string, want int, good func(int) bool) {
	wanted := strconv.Itoa(want)
	text, err := d.setting(ctx, name)
	n, malformed := strconv.Atoi(text)
	switch {
	case err != nil:
		d.add(doctor.Unknown, name, found(err, ""), wanted, "")
	case malformed != nil || !good(n):
		d.add(doctor.Warn, name, text, wanted, fmt.Sprintf("redis-cli CONFIG SET %s %d, and in redis.conf", name, want))
	default:
		d.add(doctor.OK, name, text, wanted, "")
	}
}

// clock compares the clock of Redis, by which nodes are compared with each other, with that of this machine.
func (d *redisDoctor) clock(ctx context.Context) {
	before := time.Now()
	theirs, err := d.client.Time(ctx).Result()
	after := time.Now()
	if err != nil {
		d.add(doctor.Unknown, "clock", found(err, ""), "less than 1s apart", "let the user of Redis run TIME")
		return
	}
	apart := theirs.Sub(before.Add(after.Sub(before) / 2)).Round(time.Millisecond)
	status, remedy := doctor.OK, ""
	switch {
	case apart.Abs() >= clockLimit:
		status = doctor.Fail
	case apart.Abs() >= clockSoon:
		status = doctor.Warn
	}
	if status != doctor.OK {
		remedy = "keep the clocks of all hosts by NTP"
	}
	d.add(status, "clock", apart.Abs().String()+" apart", "less than 1s apart", remedy)
}

// attempt is one command that a node sends, in a form that changes nothing that anybody reads.
type attempt struct {
	name string
	try  func(context.Context) error
}

// commands tries what the adapter uses: a user of Redis may be kept from some of it.
func (d *redisDoctor) commands(ctx context.Context) {
	var missing, broken []string
	attempts := d.attempts()
	for _, a := range attempts {
		switch err := a.try(ctx); {
		case isForbidden(err):
			missing = append(missing, a.name)
		case err != nil && !errors.Is(err, redis.Nil):
			broken = append(broken, a.name+": "+err.Error())
		}
	}
	const name, wanted = "commands and channels", "all that the adapter uses"
	switch {
	case len(missing) > 0:
		d.add(doctor.Fail, name, "the user of Redis may not: "+strings.Join(missing, ", "), wanted, "ACL SETUSER as in deploy/README.md")
	case len(broken) > 0:
		d.add(doctor.Fail, name, strings.Join(broken, "; "), wanted, "")
	default:
		d.add(doctor.OK, name, fmt.Sprintf("%d tried", len(attempts)), wanted, "")
	}
}

func (d *redisDoctor) attempts() []attempt {
	rdb, own := d.client, d.config.Redis.Prefix+"#chorus-doctor"
	session := "sio:session:chorus-doctor"
	list := []attempt{
		{"SET", func(ctx context.Context) error { return rdb.SetNX(ctx, own, "", time.Second).Err() }},
		{"GET", func(ctx context.Context) error { return rdb.Get(ctx, own).Err() }},
		{"ROLE", func(ctx context.Context) error { return rdb.Do(ctx, "ROLE").Err() }},
	}
	if d.config.adapterName() == adapterSharded {
		return append(list,
			attempt{"SPUBLISH", func(ctx context.Context) error { return rdb.SPublish(ctx, own, "").Err() }},
			attempt{"SSUBSCRIBE", func(ctx context.Context) error { return heard(ctx, rdb.SSubscribe(ctx, own)) }},
			attempt{"PUBSUB SHARDNUMSUB", func(ctx context.Context) error { return rdb.PubSubShardNumSub(ctx, own).Err() }},
		)
	}
	list = append(list,
		attempt{"PUBLISH", func(ctx context.Context) error { return rdb.Publish(ctx, own, "").Err() }},
		attempt{"SUBSCRIBE", func(ctx context.Context) error { return heard(ctx, rdb.Subscribe(ctx, own)) }},
		attempt{"PUBSUB NUMSUB", func(ctx context.Context) error { return rdb.PubSubNumSub(ctx, own).Err() }},
	)
	if d.config.Redis.Subscription == "pattern" {
		list = append(list, attempt{"PSUBSCRIBE", func(ctx context.Context) error { return heard(ctx, rdb.PSubscribe(ctx, own+"*")) }})
	}
	if d.config.adapterName() != adapterStreams {
		return list
	}
	stream := d.config.Redis.Stream.Name
	return append(list,
		attempt{"XRANGE", func(ctx context.Context) error { return rdb.XRangeN(ctx, stream, "-", "+", 1).Err() }},
		attempt{"XREVRANGE", func(ctx context.Context) error { return rdb.XRevRangeN(ctx, stream, "+", "-", 1).Err() }},
		attempt{"XREAD", func(ctx context.Context) error {
			return rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{stream, "$"}, Count: 1, Block: time.Millisecond}).Err()
		}},
		attempt{"XADD", func(ctx context.Context) error { // to a stream that there is not: nothing is added
			return rdb.XAdd(ctx, &redis.XAddArgs{Stream: stream + "#chorus-doctor-stream", NoMkStream: true, Values: []any{"a", "b"}}).Err()
		}},
		attempt{"the sessions' GET and DEL", func(ctx context.Context) error {
			_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Get(ctx, session)
				pipe.Del(ctx, session)
				return nil
			})
			return err
		}},
		attempt{"the sessions' SET", func(ctx context.Context) error { return rdb.Set(ctx, session, "", time.Second).Err() }},
	)
}

// heard waits for the confirmation of a subscription, and ends it.
func heard(ctx context.Context, s *redis.PubSub) error {
	_, err := s.Receive(ctx)
	return errors.Join(err, s.Close())
}
