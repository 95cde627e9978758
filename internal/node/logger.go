package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// level returns the least level that is logged.
func (l *logConfig) level() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // one of the enum's names
	return level
}

// logger returns the log of a process, whose level may change. It begins with the variables that look as if they were
// meant for us.
func (c *config) logger(p *process, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		// Only where a server's words can be: replaced everywhere, a password that is a common word would show itself.
		if a.Key != "error" && a.Key != "detail" {
			return a
		}
		switch v := a.Value.Any().(type) {
		case string:
			a.Value = slog.StringValue(c.hideSecrets(v))
		case error:
			a.Value = slog.StringValue(c.hideSecrets(v.Error()))
		}
		return a
	}}
	var h slog.Handler = slog.NewJSONHandler(p.stderr, o)
	if c.Log.Format == "text" {
		h = slog.NewTextHandler(p.stderr, o)
	}
	log := slog.New(h)
	for _, name := range p.loaded.unknown {
		log.Warn("unknown environment variable is ignored", "name", name)
	}
	redis.SetLogger(redisLog{log}) // the Redis library knows only one log for the whole process
	return log
}

// redisLog takes what the Redis library says about single connections. The adapter reports what matters of
// it, so it is for debugging only.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client", "detail", fmt.Sprintf(format, v...))
	}
}
