// Package logging sets up the loggers of the commands, so that all write alike.
package logging

import (
	"errors"
	"io"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Forms of a log: lines for people, or JSON, one object a line.
const (
	Console = "console"
	JSON    = "json"
)

// Known reports whether there is such a form, for checking --log-format.
func Known(form string) bool { return slices.Contains([]string{Console, JSON}, form) }

// SetLevel reads --log-level into level.
func SetLevel(level *zapcore.Level) func(string) error {
	return func(name string) error {
		if !slices.Contains([]string{"debug", "info", "warn", "error"}, name) {
			return errors.New("want debug, info, warn or error")
		}
		return level.Set(name)
	}
}

// The same message is written sampleFirst times in a second, and from then on only
// each sampleThereafter-th time.
const (
	sampleFirst      = 20
	sampleThereafter = 1000
)

// New returns a logger that writes entries of at least the given level to w, which need not be
// safe for concurrent use. The level may change if it is a zap.AtomicLevel. If w is a Queue, entries
// that were lost are reported in the log itself. Above the level debug the logger drops most of what
// repeats itself within a second: a peer can make us say the same thing as often as
// it likes. See ForPeer.
func New(w io.Writer, form string, level zapcore.LevelEnabler) *zap.Logger {
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.ISO8601TimeEncoder
	encoder := zapcore.NewJSONEncoder(cfg)
	if form == Console {
		cfg.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(cfg)
	}
	if q, ok := w.(*Queue); ok {
		q.ReportLost(lostEntries(encoder, q.out))
	}
	return zap.New(sample(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)))
}

// sampled drops what repeats itself, unless the level is debug.
type sampled struct {
	zapcore.Core              // with the sampler
	all          zapcore.Core // without
}

func sample(all zapcore.Core) zapcore.Core {
	return sampled{zapcore.NewSamplerWithOptions(all, time.Second, sampleFirst, sampleThereafter), all}
}

// With implements zapcore.Core.
func (s sampled) With(fields []zapcore.Field) zapcore.Core {
	return sampled{s.Core.With(fields), s.all.With(fields)}
}

// Check implements zapcore.Core.
func (s sampled) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(zapcore.DebugLevel) {
		return s.all.Check(entry, checked)
	}
	return s.Core.Check(entry, checked)
}

// ForPeer returns a logger for what concerns one peer, made from one of New. What repeats
// itself is counted for it alone: else a peer that makes us say something all the time
// would hide that it is true of another one, too.
func ForPeer(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		if s, ok := core.(sampled); ok {
			return sample(s.all)
		}
		return core
	}))
}

// lostEntries reports entries that were lost to where they are missing, whatever the
// level of the log.
func lostEntries(encoder zapcore.Encoder, out io.Writer) func(lost uint64, err error) bool {
	return func(lost uint64, err error) bool {
		if err != nil {
			return false
		}
		line, err := encoder.Clone().EncodeEntry(zapcore.Entry{
			Level: zapcore.WarnLevel, Time: time.Now(), Message: "lines of this log were dropped here, because no one read it",
		}, []zapcore.Field{zap.Uint64("lines", lost)})
		if err != nil {
			return false
		}
		defer line.Free()
		_, err = out.Write(line.Bytes())
		return err == nil
	}
}
