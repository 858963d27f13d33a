package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/channel/channeltest"
	"vvufwd/cmd/internal/control"
	"vvufwd/cmd/vvufwd/help"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/l2nat"
	"vvufwd/netfwd/nic"
	"vvufwd/vvu/session"
)

// example has something of everything.
func example() State {
	dropped := uint64(9)
	return State{
		Version: "vvufwd (devel) 0123abc+dirty linux/amd64 go1.26.8", Start: time.UnixMilli(1700000000500),
		Stats: netfwd.Stats{
			Ports: []netfwd.PortStats{
				{Name: `vhost-user:/tmp/"odd\` + "\n/q1", RxPackets: 1, Drops: map[string]uint64{"runt": 4}, Faults: map[string]uint64{"memory vanished": 2}},
				{Name: `vhost-user:/tmp/"odd\` + "\n/q1/q3", RxPackets: 18446744073709551615, Offloads: &netfwd.OffloadStats{Pieces: 44}},
				{Name: "nic:0000:00:04.0", Device: nic.State{Working: true, Restarts: 3, Counters: map[string]uint64{"rx_missed": 5, "crc_errors": 6}}},
				{Name: "packet:wlan0", Device: netdev.Stats{Link: true, Returns: 2, Dropped: &dropped, Translation: l2nat.Stats{Stations: 2, Echoes: 8}}},
				{Name: "\xff"},
			},
			Loops: []netfwd.LoopStats{{CPU: -1, Rounds: 10, BusyRounds: 5, BusyNS: 1500000000, Switch: &netfwd.SwitchStats{Learned: 3, Static: 1, Floods: 7}}},
		},
		Ports:    []control.Port{{Name: `vhost-user:/tmp/"odd\` + "\n/q1", Used: 2}, {Name: "nic:0000:00:04.0", Used: 1}, {Name: "packet:wlan0"}},
		Links:    []control.Link{{Name: "nic:0000:00:04.0", Kind: "nic", Up: true}, {Name: "packet:wlan0", Kind: "interface"}},
		Captures: []control.Capture{{Port: "packet:wlan0", On: true, Frames: 100, Missed: 1}, {Port: "alone", On: true, Reader: new(bool)}},
	}
}

// The text is what the format's specification and Prometheus' conventions want, and says what is true.
func TestText(t *testing.T) {
	got := parse(t, Text(example()))
	odd := `port="vhost-user:/tmp/\"odd\\\n/q1"`
	for series, want := range map[string]float64{
		`vvufwd_build_info{version="(devel) 0123abc+dirty",goversion="go1.26.8"}`: 1, `vvufwd_start_time_seconds`: 1700000000.5,
		`vvufwd_port_receive_frames_total{` + odd + `,queue="0"}`: 1, `vvufwd_port_receive_frames_total{` + odd + `,queue="3"}`: 18446744073709551615,
		`vvufwd_port_drops_total{` + odd + `,queue="0",reason="runt"}`: 4, `vvufwd_port_drops_total{` + odd + `,queue="0",reason="no_peer"}`: 0,
		`vvufwd_port_ring_faults_total{` + odd + `,queue="0",fault="memory vanished"}`: 2, `vvufwd_port_segment_pieces_total{` + odd + `,queue="3"}`: 44,
		`vvufwd_nic_restarts_total{port="nic:0000:00:04.0"}`: 3, `vvufwd_nic_registers_total{port="nic:0000:00:04.0",register="crc_errors"}`: 6,
		`vvufwd_interface_returns_total{port="packet:wlan0"}`: 2, `vvufwd_interface_kernel_drops_total{port="packet:wlan0"}`: 9,
		`vvufwd_l2nat_stations{port="packet:wlan0"}`: 2, `vvufwd_l2nat_frames_total{port="packet:wlan0",what="echoes"}`: 8,
		`vvufwd_port_up{port="nic:0000:00:04.0",kind="nic"}`: 1, `vvufwd_port_up{port="packet:wlan0",kind="interface"}`: 0, `vvufwd_port_queues{` + odd + `}`: 2,
		`vvufwd_loop_cpu{loop="0"}`: -1, `vvufwd_loop_busy_seconds_total{loop="0"}`: 1.5, `vvufwd_switch_addresses{kind="learned"}`: 3, `vvufwd_switch_floods_total`: 7,
		`vvufwd_capture_on{port="packet:wlan0"}`: 1, `vvufwd_capture_on{port="alone"}`: 0, `vvufwd_capture_frames_total{port="packet:wlan0"}`: 100, `vvufwd_capture_missed_frames_total{port="packet:wlan0"}`: 1,
		"vvufwd_port_receive_frames_total{port=\"\uFFFD\",queue=\"0\"}": 0,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v, want %v", series, v, want)
		}
	}
	parse(t, Text(State{}))
}

// What a switch with all the ports, queue pairs and captures that there can be tells of itself is an answer that a client takes.
func TestLargestAnswerIsTaken(t *testing.T) {
	var s State
	for i := range netfwd.MaxSwitchPorts {
		name := fmt.Sprintf("vhost-user:/%0106d", i)
		s.Ports = append(s.Ports, control.Port{Name: name})
		s.Links = append(s.Links, control.Link{Name: name, Kind: "guest"})
		s.Captures = append(s.Captures, control.Capture{Port: name})
		for q := range session.MaxPairs {
			s.Stats.Ports = append(s.Stats.Ports, netfwd.PortStats{Name: fmt.Sprintf("%s/q%d", name, q), RxPackets: 1 << 62, RxBytes: 1 << 62, TxPackets: 1 << 62, TxBytes: 1 << 62})
		}
	}
	line, err := json.Marshal(Text(s))
	if err != nil || len(line) > control.MaxAnswer-1000 || len(line) < control.MaxAnswer/4 {
		t.Errorf("%d bytes, %v; a client takes %d", len(line), err, control.MaxAnswer)
	}
}

// Every metric is in the reference, and the reference has no other.
func TestReferenceHasAllMetrics(t *testing.T) {
	text := help.Text("control")
	ours := regexp.MustCompile("`(vvufwd_[a-z0-9_]+)`")
	named := map[string]bool{}
	for _, m := range ours.FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE ([a-z0-9_]+) `).FindAllStringSubmatch(Text(example()), -1) {
		if !named[m[1]] {
			t.Errorf("topic control does not have %s", m[1])
		}
		delete(named, m[1])
	}
	for name := range named {
		t.Errorf("topic control has %s, which there is not", name)
	}
}

var (
	about  = regexp.MustCompile(`^# HELP ([a-z_][a-z0-9_]*) (\S.*[.)0-9])$`)
	kind   = regexp.MustCompile(`^# TYPE ([a-z_][a-z0-9_]*) (counter|gauge)$`)
	sample = regexp.MustCompile(`^([a-z_][a-z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+\})? (-?[0-9][0-9.e+]*)$`)
	label  = regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
)

// parse reads the text format strictly: each family once and in one piece, with HELP, then TYPE; counters, and they alone, end in _total;
// units are base units; no series twice, all of a family with the same labels.
func parse(t *testing.T, text string) map[string]float64 {
	t.Helper()
	got, families := map[string]float64{}, map[string]bool{}
	name, typed, labels := "", "", ""
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := about.FindStringSubmatch(line); m != nil {
			name, typed, labels = m[1], "", ""
			if !strings.HasPrefix(name, "vvufwd_") { // what others have, too, a textfile collector refuses
				t.Errorf("%s is not ours alone", name)
			}
			if families[name] {
				t.Errorf("%s comes twice", name)
			}
			families[name] = true
			if strings.Contains(name, "milli") || strings.Contains(name, "_ns") || strings.Contains(name, "count") {
				t.Errorf("%s: no base unit", name)
			}
			continue
		}
		if m := kind.FindStringSubmatch(line); m != nil {
			if typed = m[2]; m[1] != name || (typed == "counter") != strings.HasSuffix(name, "_total") {
				t.Errorf("%q after the help of %s", line, name)
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || m[1] != name || typed == "" {
			t.Errorf("%q in %s", line, name)
			continue
		}
		var names []string
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			names = append(names, l[1])
		}
		if all := strings.Join(names, ",") + "."; labels == "" {
			labels = all
		} else if all != labels {
			t.Errorf("%q has other labels than %s", line, labels)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if _, twice := got[m[1]+m[2]]; err != nil || twice {
			t.Errorf("%q: %v, twice: %v", line, err, twice)
		}
		got[m[1]+m[2]] = v
	}
	return got
}

// serve serves a page, and returns where.
func serve(t *testing.T, page func() string) channel.Address {
	t.Helper()
	return channeltest.Serve(t, func(ctx context.Context, l *channel.Listener) { Serve(ctx, l, page) })
}

// A client of net/http gets the page, and errors for all else.
func TestServe(t *testing.T) {
	want := strings.Repeat("page\n", 100000)
	a := serve(t, func() string { return want })
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", a.Path)
	}}}
	get := func(method, path string) (int, string, http.Header) {
		t.Helper()
		request, _ := http.NewRequestWithContext(t.Context(), method, "http://x"+path, nil)
		r, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		return r.StatusCode, string(body), r.Header
	}
	if code, body, header := get("GET", "/metrics?x=y"); code != 200 || body != want || header.Get("Content-Type") != contentType {
		t.Errorf("%d, %d bytes, %v", code, len(body), header)
	}
	if code, body, header := get("HEAD", "/metrics"); code != 200 || body != "" || header.Get("Content-Length") != strconv.Itoa(len(want)) {
		t.Errorf("HEAD: %d, %d bytes, %v", code, len(body), header)
	}
	for _, c := range []struct {
		method, path string
		code         int
	}{{"GET", "/", 404}, {"GET", "/metrics/../x", 404}, {"POST", "/metrics", 405}, {"DELETE", "/metrics", 405}, {"HEAD", "/x", 404}} {
		if code, body, _ := get(c.method, c.path); code != c.code || body == want {
			t.Errorf("%s %s: %d", c.method, c.path, code)
		}
	}
}

// What is no request of HTTP is refused; who does not end, does not ask, or does not read is in no one's way.
func TestHostileScrapers(t *testing.T) {
	a := serve(t, func() string { return strings.Repeat("x", 4<<20) })
	ask := func(text string) (string, error) {
		conn, err := a.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		go io.WriteString(conn, text)
		line, err := bufio.NewReader(conn).ReadString('\n')
		return line, err
	}
	for text, want := range map[string]string{
		"GET /metrics HTTP/1.0\n\n": "200", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n": "200", "rubbish\n\n": "400", "\n\n": "400", "GET /metrics\r\n\r\n": "400",
		"GET /metrics SPDY/9\r\n\r\n": "400", "GET /metrics HTTP/1.1 x\r\n\r\n": "400", "GET  /metrics HTTP/1.1\r\n\r\n": "400", "\x00\x16\x03\r\n\r\n": "400",
		"get /metrics HTTP/1.1\r\n\r\n": "405",
	} {
		if line, err := ask(text); err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Errorf("%q: %q, %v", text, line, err)
		}
	}
	line, err := ask("GET /metrics HTTP/1.1\r\nX: " + strings.Repeat("y", 3*maxHead))
	if err == nil && !strings.Contains(line, "431") || err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one that does not end: %q, %v", line, err)
	}
	for i := range 3 * maxClients {
		conn, err := a.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, []string{"", "GET /me", "GET /metrics HTTP/1.1\r\n\r\n"}[i%3])
	}
	if line, err := ask("GET /metrics HTTP/1.1\r\n\r\n"); err != nil || !strings.Contains(line, "200 OK") {
		t.Errorf("in a crowd: %q, %v", line, err)
	}
}

// A crowd that comes all the time and asks as it should keeps no scraper from its page, which may take as long as collecting does. No
// page is old.
func TestCrowd(t *testing.T) {
	const slowly = 100 * time.Millisecond
	var pages atomic.Int32
	a := serve(t, func() string {
		time.Sleep(slowly)
		pages.Add(1)
		return fmt.Sprintf("made %d\n", time.Now().UnixNano())
	})
	scrape := func(ctx context.Context) (string, error) {
		conn, err := a.Dial(ctx)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\n\r\n")
		text, err := io.ReadAll(conn)
		return string(text), err
	}
	start := time.Now()
	if _, err := scrape(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	for range maxClients {
		crowd.Go(func() {
			for ctx.Err() == nil {
				scrape(ctx)
			}
		})
	}
	scrapes, missed := 0, 0
	for ; time.Since(start) < 3*stale; scrapes++ {
		asked := time.Now()
		text, err := scrape(t.Context())
		_, made, _ := strings.Cut(text, "made ")
		n, _ := strconv.ParseInt(strings.TrimSpace(made), 10, 64)
		switch {
		case err != nil || n == 0:
			missed++
		case asked.Sub(time.Unix(0, n)) > stale:
			t.Errorf("at %v: %q", asked.UnixNano(), text)
		}
	}
	if missed > scrapes/2 { // all, if they can be kept out; a machine that is busy with something else may be late for some
		t.Errorf("%d of %d scrapes were not answered", missed, scrapes)
	}
	took := time.Since(start)
	cancel()
	crowd.Wait()
	if made, most := pages.Load(), int32(took/fresh)+2; made > most {
		t.Errorf("%d pages in %v, want %d at most", made, took, most)
	}
}
