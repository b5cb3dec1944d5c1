package servercert

import (
	"slices"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap/zapcore"
)

// core writes what certmagic logs with zap to an hclog.Logger, one level lower:
// what it says in its good times is for debugging, and every failure that matters
// is also an event.
type core struct {
	log    hclog.Logger
	fields []zapcore.Field
}

var _ zapcore.Core = core{}

var levels = map[zapcore.Level]hclog.Level{
	zapcore.DebugLevel: hclog.Trace, zapcore.InfoLevel: hclog.Debug, zapcore.WarnLevel: hclog.Info,
}

func level(l zapcore.Level) hclog.Level {
	if to, ok := levels[l]; ok {
		return to
	}
	return hclog.Warn
}

// Enabled is for zap.
func (c core) Enabled(l zapcore.Level) bool { return level(l) >= c.log.GetLevel() }

// With is for zap.
func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.log, slices.Concat(c.fields, fields)}
}

// Check is for zap.
func (c core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write is for zap.
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	var args []any
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(enc)
		if v, ok := enc.Fields[f.Key]; ok {
			args = append(args, f.Key, v)
		}
	}
	log := c.log
	if e.LoggerName != "" {
		log = log.Named(e.LoggerName)
	}
	log.Log(level(e.Level), e.Message, args...)
	return nil
}

// Sync is for zap.
func (core) Sync() error { return nil }
