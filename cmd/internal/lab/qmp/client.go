package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
)

// Client is a connection to one QEMU. It is owned by one goroutine.
type Client struct {
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

// Dial connects to the QEMU that listens at path and makes it ready for commands.
func Dial(ctx context.Context, path string) (*Client, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU: %w", err)
	}
	c := &Client{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}
	if err := c.greet(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection. QEMU goes on.
func (c *Client) Close() error { return c.conn.Close() }

// message is anything that QEMU sends: the greeting, the answer to a command, or an event.
type message struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
}

func (c *Client) greet(ctx context.Context) error {
	m, err := c.next(ctx)
	if err != nil {
		return err
	}
	if m.Greeting == nil {
		return errors.New("the peer at QEMU's socket does not send QMP's greeting")
	}
	_, err = c.Execute(ctx, "qmp_capabilities", nil)
	return err
}

// Execute carries out one command with its arguments, if it has any, and returns its result.
func (c *Client) Execute(ctx context.Context, command string, arguments map[string]any) (json.RawMessage, error) {
	request := struct {
		Execute   string         `json:"execute"`
		Arguments map[string]any `json:"arguments,omitempty"`
	}{command, arguments}
	if err := c.out.Encode(request); err != nil {
		return nil, fmt.Errorf("QEMU command %s: %w", command, err)
	}
	for {
		m, err := c.next(ctx)
		switch {
		case err != nil:
			return nil, fmt.Errorf("QEMU command %s: %w", command, err)
		case m.Error != nil:
			return nil, fmt.Errorf("QEMU command %s: %s", command, m.Error.Desc)
		case m.Return != nil:
			return m.Return, nil
		}
	}
}

// Await waits for an event by its name, DEVICE_DELETED for one. Events that came before or during the last command are lost.
func (c *Client) Await(ctx context.Context, event string) error {
	for {
		m, err := c.next(ctx)
		if err != nil {
			return fmt.Errorf("wait for QEMU's %s: %w", event, err)
		}
		if m.Event == event {
			return nil
		}
	}
}

// next reads one message, or gives up when ctx ends; the connection is of no use then.
func (c *Client) next(ctx context.Context) (message, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	var m message
	if err := c.in.Decode(&m); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return m, err
	}
	return m, nil
}
