package show

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// web is the host's HTTP server, from which the app VM downloads. Safe for concurrent use.
type web struct {
	server *http.Server
	base   string // URL without a path
	blob   []byte
	// endless counts the bytes of the endless download that were handed to the network.
	endless atomic.Int64
}

// startWeb listens on a free port of the given host address. The app VM reaches it under the name visible
// and can download that many bytes.
func startWeb(listen, visible string, bytes int64) (*web, error) {
	w := &web{blob: make([]byte, bytes)}
	rand.Read(w.blob) // never fails, and incompressible: nothing on the way can cheat
	listener, err := net.Listen("tcp4", net.JoinHostPort(listen, "0"))
	if err != nil {
		return nil, fmt.Errorf("serve HTTP to the app VM: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	w.base = "http://" + net.JoinHostPort(visible, strconv.Itoa(port))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /blob", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", strconv.Itoa(len(w.blob)))
		rw.Write(w.blob) // the app VM compares what arrived
	})
	mux.HandleFunc("GET /endless", w.serveEndless)
	w.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go w.server.Serve(listener)
	return w, nil
}

// serveEndless sends until the other side is gone.
func (w *web) serveEndless(rw http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		n, err := rw.Write(w.blob[:64<<10])
		w.endless.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// sum is the blob's SHA-256 in hexadecimal.
func (w *web) sum() string {
	sum := sha256.Sum256(w.blob)
	return hex.EncodeToString(sum[:])
}

func (w *web) Close() error { return w.server.Close() }

// fetch downloads a URL of the app VM and returns size and SHA-256. More than limit bytes are an error.
func fetch(ctx context.Context, url string, limit int64) (bytes int64, sum string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true, DisableCompression: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, "", fmt.Errorf("%s answers %s", url, response.Status)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(response.Body, limit+1))
	if err == nil && n > limit {
		err = errors.New("it sends more than it should")
	}
	if err != nil {
		return n, "", fmt.Errorf("%s after %d bytes: %w", url, n, err)
	}
	return n, hex.EncodeToString(hash.Sum(nil)), nil
}

// freePort returns a port of the loopback address that no one listens on.
func freePort() (int, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
