package guest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// prefix begins every answer of the app VM.
const prefix = "@@ "

// answer is one parsed line of the app VM: "@@ NAME STATUS FIELD FIELD ...".
type answer struct {
	name, status string
	fields       []string
}

// parseAnswer reads an answer. The prefix may stand anywhere in the line, because the terminal's echo or a message of the kernel
// may come before it. ok is false for any other line.
func parseAnswer(line string) (a answer, ok bool) {
	_, text, found := strings.Cut(line, prefix)
	words := strings.Fields(text)
	if !found || len(words) == 0 {
		return answer{}, false
	}
	a.name = words[0]
	if len(words) > 1 {
		a.status, a.fields = words[1], words[2:]
	}
	return a, true
}

// errAnswer is wrapped by the errors for answers that lack what they should have.
var errAnswer = errors.New("unexpected answer from the app VM")

// reader takes the fields of an answer one by one. The first that is missing or wrong is kept as err.
type reader struct {
	answer
	err error
}

func (r *reader) text() string {
	if r.err != nil {
		return ""
	}
	if len(r.fields) == 0 {
		r.err = fmt.Errorf("%w: %s has too few fields", errAnswer, r.name)
		return ""
	}
	field := r.fields[0]
	r.fields = r.fields[1:]
	return field
}

func (r *reader) number() int64 {
	field := r.text()
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(field, 10, 64)
	if err != nil || n < 0 {
		r.err = fmt.Errorf("%w: %s: %q is not a count", errAnswer, r.name, field)
	}
	return n
}

func (r *reader) milliseconds() time.Duration {
	return time.Duration(r.number()) * time.Millisecond
}

func (r *reader) pings() (Pings, error) {
	p := Pings{Sent: r.number(), Received: r.number(), RTT: r.text()}
	return p, r.err
}

func (r *reader) transfer() (Transfer, error) {
	t := Transfer{Bytes: r.number(), SHA256: r.text(), Took: r.milliseconds()}
	return t, r.err
}
