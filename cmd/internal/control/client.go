package control

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"vvufwd/cmd/internal/channel"
)

// MaxAnswer is how many bytes of an answer a client takes. The longest are metrics: of a switch with 64 ports of 8 queue pairs
// they have 4.2 MB.
const MaxAnswer = 8 << 20

// Client asks. It belongs to one goroutine.
type Client struct {
	conn    *os.File
	in      *bufio.Reader
	id      string // of this client
	asked   int
	address channel.Address
}

// RefusedError is what the program that was asked said instead of an answer.
type RefusedError struct{ why string }

// Error implements error. It is one line: more would look like errors of the one who asks.
func (e *RefusedError) Error() string { return strings.ReplaceAll(e.why, "\n", " ") }

// Dial connects to a program. At the socket of a virtio-serial port QEMU is there always, and has one client at a time.
func Dial(ctx context.Context, a channel.Address) (*Client, error) {
	conn, err := a.Dial(ctx)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	rand.Read(id[:]) // never fails
	return &Client{conn: conn, in: bufio.NewReaderSize(conn, 1<<16), id: hex.EncodeToString(id[:]), address: a}, nil
}

// Close hangs up.
func (c *Client) Close() error { return c.conn.Close() }

// Ask sends a request and reads the data of its answer into data, within the time that ctx has.
func (c *Client) Ask(ctx context.Context, r Request, data any) error {
	c.asked++
	r.ID = c.id + "-" + strconv.Itoa(c.asked)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	line = append(append([]byte("\n"), line...), '\n') // what someone has left before ends here
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.conn.Write(line); err != nil {
		return c.explain(ctx, err)
	}
	for {
		line, err := c.line()
		if err != nil {
			return c.explain(ctx, err)
		}
		var a Answer
		if json.Unmarshal(line, &a) != nil || a.ID != r.ID {
			continue // what was meant for someone before
		}
		if a.Error != "" {
			return &RefusedError{a.Error}
		}
		if err := json.Unmarshal(a.Data, data); err != nil {
			return fmt.Errorf("%v: an answer that is not understood (is it of another version?): %w", c.address, err)
		}
		return nil
	}
}

// line reads one, within reason.
func (c *Client) line() (line []byte, err error) {
	for {
		part, err := c.in.ReadSlice('\n')
		if line = append(line, part...); len(line) > MaxAnswer {
			return nil, errors.New("the answer does not end")
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// explain says what may be wrong when there is no answer.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%v: no answer: the program does not run, is not asked at this place, or is asked by someone else through the same virtio-serial port", c.address)
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%v: no answer, and the other side has hung up: is that what the program has with --control?", c.address)
	}
	return fmt.Errorf("%v: no answer: %w", c.address, err)
}
