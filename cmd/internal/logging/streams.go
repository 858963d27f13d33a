package logging

import (
	"os"
	"os/signal"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// LastWords is how long a program waits at its end for someone to take what it has
// said.
const LastWords = time.Second

// Streams returns queues in front of the standard streams of a program that must not
// stop for them: not if no one reads them, and not if whoever read them is gone, which
// by default is the end of a program (SIGPIPE). It is called once, by main.
func Streams() (stdout, stderr *Queue) {
	signal.Ignore(unix.SIGPIPE)
	return NewQueue(os.Stdout, DefaultRoom), NewQueue(os.Stderr, DefaultRoom)
}

// ReportIn makes a queue of data, which must not have other words among it, tell in the
// log what was lost of it. What is the data's name.
func (q *Queue) ReportIn(log *zap.Logger, what string) {
	log = log.With(zap.String("what", what))
	failing := false // and said so
	q.ReportLost(func(lost uint64, err error) bool {
		switch {
		case err == nil:
			log.Warn("data was dropped, because no one read the standard output", zap.Uint64("records", lost))
		case !failing:
			log.Warn("data cannot be written to the standard output", zap.Error(err))
		}
		failing = err != nil
		return !failing
	})
}
