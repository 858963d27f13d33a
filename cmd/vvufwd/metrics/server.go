package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"vvufwd/cmd/internal/channel"
)

// Bounds of what scrapers can have.
const (
	maxClients = 32   // of whom the first is hung up on after a sixth of a second, if they come all the time
	maxHead    = 8192 // bytes of a request
	slow       = 5 * time.Second
)

// contentType is that of the text format.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// Serve answers GET /metrics at a listener until ctx is done, one request a connection. There is one page, and net/http would be a
// fifth of the program. A page is up to a second old.
func Serve(ctx context.Context, l *channel.Listener, page func() string) {
	all := pages{make: page}
	defer all.making.Wait()
	channel.Serve(ctx, l, maxClients, func(_ context.Context, conn *channel.Conn) {
		conn.SetReadDeadline(time.Now().Add(slow))
		head, err := readHead(conn)
		if err != nil && !errors.Is(err, errHead) {
			return
		}
		var out []byte
		if err != nil {
			out = response("431 Request Header Fields Too Large", "", err.Error()+"\n", true)
		} else {
			out = respond(head, all.get)
		}
		conn.SetWriteDeadline(time.Now().Add(slow))
		conn.Write(out) // if it is not taken that is the scraper's loss
	})
}

// errHead is what is wrong with a request that does not end.
var errHead = errors.New("the request is too long")

// readHead reads a request up to its body, which none has that is answered.
func readHead(conn *channel.Conn) ([]byte, error) {
	head := make([]byte, 0, 1024)
	for {
		if i := bytes.Index(head, []byte("\n\r\n")); i >= 0 {
			return head[:i], nil
		}
		if i := bytes.Index(head, []byte("\n\n")); i >= 0 {
			return head[:i], nil
		}
		if len(head) >= maxHead {
			return nil, errHead
		}
		if cap(head)-len(head) < 1024 {
			head = append(make([]byte, 0, maxHead), head...)
		}
		n, err := conn.Read(head[len(head):min(cap(head), maxHead)])
		if head = head[:len(head)+n]; err != nil {
			return nil, err
		}
	}
}

// respond answers a request.
func respond(head []byte, page func() string) []byte {
	line, _, _ := strings.Cut(string(head), "\n")
	words := strings.Split(strings.TrimSuffix(line, "\r"), " ")
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/1.") {
		return response("400 Bad Request", "", "want GET /metrics HTTP/1.1\n", true)
	}
	path, _, _ := strings.Cut(words[1], "?")
	switch method := words[0]; {
	case method != "GET" && method != "HEAD":
		return response("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET\n", true)
	case path != "/metrics":
		return response("404 Not Found", "", "there is /metrics\n", method == "GET")
	default:
		return response("200 OK", "", page(), method == "GET")
	}
}

func response(status, header, body string, withBody bool) []byte {
	var b bytes.Buffer
	kind := "text/plain; charset=utf-8"
	if status == "200 OK" {
		kind = contentType
	}
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\n%sContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", status, header, kind, len(body))
	if withBody {
		b.WriteString(body)
	}
	return b.Bytes()
}
