package logging

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestForms(t *testing.T) {
	var out bytes.Buffer
	New(&out, Console, zapcore.InfoLevel).Warn("text", zap.Int("n", 7))
	if got := out.String(); !strings.Contains(got, "WARN\ttext\t{\"n\": 7}\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("for people: %q", got)
	}
	out.Reset()
	New(&out, JSON, zapcore.InfoLevel).Warn("text", zap.Int("n", 7))
	var entry struct {
		Level, Msg, TS string
		N              int
	}
	if err := json.Unmarshal(out.Bytes(), &entry); err != nil || entry.Level != "warn" || entry.Msg != "text" || entry.N != 7 || !strings.Contains(entry.TS, "T") {
		t.Errorf("JSON %q: %v", out.String(), err)
	}
	if !Known("json") || !Known("console") || Known("xml") || Known("") {
		t.Error("forms are not told apart")
	}
}

// TestFlood repeats a message: it is held back, unless someone is looking for a bug.
func TestFlood(t *testing.T) {
	const times = 500
	count := func(level zapcore.Level) int {
		var out bytes.Buffer
		log := New(&out, JSON, level)
		for range times {
			log.Error("again")
		}
		return strings.Count(out.String(), "again")
	}
	// A second may begin in the middle.
	if got := count(zapcore.InfoLevel); got < sampleFirst || got > 2*sampleFirst {
		t.Errorf("%d of %d repetitions were written, want some %d", got, times, sampleFirst)
	}
	if got := count(zapcore.DebugLevel); got != times {
		t.Errorf("with debug %d of %d repetitions were written", got, times)
	}
}

func TestLevel(t *testing.T) {
	var out bytes.Buffer
	New(&out, Console, zapcore.ErrorLevel).Warn("text")
	if out.Len() != 0 {
		t.Errorf("below the level: %q", out.String())
	}
}

// What one peer makes us repeat hides nothing that is said of another one, though it is
// the same.
func TestFloodOfOnePeer(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, JSON, zapcore.InfoLevel)
	peer := func(name string) *zap.Logger { return ForPeer(log).With(zap.String("port", name)) }
	loud, quiet := peer("loud"), peer("quiet")
	for range 10000 {
		loud.Warn("again")
	}
	quiet.Warn("again")
	if n := strings.Count(out.String(), `"port":"quiet"`); n != 1 {
		t.Errorf("the other peer is mentioned %d times", n)
	}
	if n := strings.Count(out.String(), `"port":"loud"`); n < sampleFirst || n > 4*sampleFirst {
		t.Errorf("the loud one is mentioned %d times", n)
	}
	out.Reset()
	ForPeer(New(&out, JSON, zapcore.DebugLevel)).Debug("text")
	ForPeer(zap.NewNop()).Error("text")
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("looking for a bug: %q", out.String())
	}
}

func TestSetLevel(t *testing.T) {
	var level zapcore.Level
	if err := SetLevel(&level)("warn"); err != nil || level != zapcore.WarnLevel {
		t.Errorf("warn: %v, %v", level, err)
	}
	for _, name := range []string{"loud", "", "panic"} {
		if err := SetLevel(&level)(name); err == nil || !strings.Contains(err.Error(), "want debug, info, warn or error") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// The level can be changed while the program runs, for loggers that were made before too, and at debug nothing is left out.
func TestLevelChanges(t *testing.T) {
	var out bytes.Buffer
	level := zap.NewAtomicLevel()
	log := ForPeer(New(&out, JSON, level)).With(zap.String("port", "p"))
	say := func() int {
		out.Reset()
		for range 2 * sampleFirst {
			log.Debug("d")
			log.Info("i")
		}
		return strings.Count(out.String(), "\n")
	}
	if n := say(); n < sampleFirst || n >= 2*sampleFirst {
		t.Errorf("info: %d lines", n)
	}
	level.SetLevel(zapcore.DebugLevel)
	if n := say(); n != 4*sampleFirst {
		t.Errorf("debug: %d lines", n)
	}
	level.SetLevel(zapcore.ErrorLevel)
	if n := say(); n != 0 {
		t.Errorf("error: %d lines", n)
	}
}
