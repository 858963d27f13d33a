package guest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/virtio"
)

// App is a running app VM. It is owned by one goroutine.
type App struct {
	console *vm.Process
	mark    int // the first console line that belongs to the next answer
}

// Lease is what the app VM got by DHCP.
type Lease struct {
	Address string        `json:"address"` // with the prefix length: "10.0.2.15/24"
	Router  string        `json:"router"`
	Took    time.Duration `json:"-"`
}

// IP is the address without the prefix length.
func (l Lease) IP() string {
	ip, _, _ := strings.Cut(l.Address, "/")
	return ip
}

// Pings is the outcome of a series of ICMP echo requests.
type Pings struct {
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
	RTT      string `json:"rtt_ms"` // "minimum/average/maximum", or "-"
}

// Device is what the app VM sees of its network device.
type Device struct {
	MTU                           int // in bytes
	RxPackets, RxBytes, RxDropped uint64
	TxPackets, TxDropped          uint64
}

// Transfer is data that the app VM got or made.
type Transfer struct {
	Bytes  int64         `json:"bytes"`
	SHA256 string        `json:"sha256"` // in hexadecimal
	Took   time.Duration `json:"-"`
}

// WaitReady waits until the app VM obeys commands and returns it with the hardware address of its network device.
func WaitReady(ctx context.Context, console *vm.Process, limit time.Duration) (*App, string, error) {
	line, next, err := console.Expect(ctx, 0, limit, "start of the app VM", func(line string) bool {
		a, ok := parseAnswer(line)
		return ok && (a.name == "ready" || a.name == "panic")
	})
	if err != nil {
		return nil, "", err
	}
	a, _ := parseAnswer(line)
	if a.name != "ready" {
		return nil, "", console.Explain(fmt.Errorf("the app VM could not start: %s", strings.Join(append([]string{a.status}, a.fields...), " ")))
	}
	return &App{console: console, mark: next}, a.status, nil
}

// Attach returns an app VM that obeys commands at a console without having started there: one that has migrated.
func Attach(console *vm.Process) *App { return &App{console: console} }

// Lease makes the app VM ask for an address.
func (p *App) Lease(ctx context.Context, limit time.Duration) (Lease, error) {
	r, err := p.do(ctx, limit, "lease", nil)
	if err != nil {
		return Lease{}, err
	}
	l := Lease{Address: r.text(), Router: r.text(), Took: r.milliseconds()}
	return l, r.err
}

// Address makes the app VM take an address, given with its prefix length, without asking anyone.
func (p *App) Address(ctx context.Context, limit time.Duration, address string) error {
	_, err := p.do(ctx, limit, "address "+address, nil)
	return err
}

// Device asks the app VM what its network device says.
func (p *App) Device(ctx context.Context, limit time.Duration) (Device, error) {
	r, err := p.do(ctx, limit, "device", nil)
	if err != nil {
		return Device{}, err
	}
	d := Device{MTU: int(r.number())}
	for _, n := range []*uint64{&d.RxPackets, &d.RxBytes, &d.RxDropped, &d.TxPackets, &d.TxDropped} {
		*n = uint64(r.number())
	}
	return d, r.err
}

// Carrier asks the app VM whether its network device has a link.
func (p *App) Carrier(ctx context.Context, limit time.Duration) (bool, error) {
	r, err := p.do(ctx, limit, "carrier", nil)
	if err != nil {
		return false, err
	}
	up := r.number()
	return up != 0, r.err
}

// Features asks the app VM what its driver has negotiated with its network device.
func (p *App) Features(ctx context.Context, limit time.Duration) (virtio.Features, error) {
	r, err := p.do(ctx, limit, "features", nil)
	if err != nil {
		return 0, err
	}
	text := r.text()
	if r.err != nil {
		return 0, r.err
	}
	var f virtio.Features
	for i, bit := range text { // the kernel prints bit 0 first
		switch {
		case bit == '1' && i < 64:
			f |= 1 << i
		case bit != '0':
			return 0, fmt.Errorf("%w: %s: %q are not feature bits", errAnswer, r.name, text)
		}
	}
	return f, nil
}

// Rebind makes the app VM take its network device from the driver and give it back, as reloading the driver does. The device has no
// address then.
func (p *App) Rebind(ctx context.Context, limit time.Duration) error {
	return p.RebindAfter(ctx, limit, 0)
}

// RebindAfter is Rebind, with whole seconds in between in which the device has no driver.
func (p *App) RebindAfter(ctx context.Context, limit, away time.Duration) error {
	_, err := p.do(ctx, limit, fmt.Sprintf("rebind %d", int(away.Seconds())), nil)
	return err
}

// defaultPing is the number of data bytes of an echo request that ping sends by itself.
const defaultPing = 56

// Ping makes the app VM send count echo requests to host, five a second.
func (p *App) Ping(ctx context.Context, limit time.Duration, host string, count int) (Pings, error) {
	return p.PingSize(ctx, limit, host, count, defaultPing)
}

// PingSize is Ping with size data bytes in each echo request: the IP packet is 28 bytes longer.
func (p *App) PingSize(ctx context.Context, limit time.Duration, host string, count, size int) (Pings, error) {
	r, err := p.do(ctx, limit, fmt.Sprintf("ping %d %s %d", count, host, size), nil)
	if err != nil {
		return Pings{}, err
	}
	return r.pings()
}

// Fetch makes the app VM download a URL.
func (p *App) Fetch(ctx context.Context, limit time.Duration, url string) (Transfer, error) {
	r, err := p.do(ctx, limit, "fetch "+url, nil)
	if err != nil {
		return Transfer{}, err
	}
	return r.transfer()
}

// StartFetch makes the app VM begin a download and does not wait for its end. No other command may follow.
func (p *App) StartFetch(url string) error { return p.console.Send("fetch " + url) }

// Blob makes the app VM put random bytes where its HTTP server serves them as /blob.
func (p *App) Blob(ctx context.Context, limit time.Duration, bytes int64) (Transfer, error) {
	r, err := p.do(ctx, limit, fmt.Sprintf("blob %d", bytes), nil)
	if err != nil {
		return Transfer{}, err
	}
	t := Transfer{Bytes: r.number(), SHA256: r.text()}
	return t, r.err
}

// Stream makes the app VM send so many bytes by TCP or, if that is 0, take what comes until the end, and returns how many there were. The
// image must have a program for it, bin/stream.
func (p *App) Stream(ctx context.Context, limit time.Duration, host string, port int, bytes int64) (moved int64, err error) {
	r, err := p.do(ctx, limit, fmt.Sprintf("stream %s %d %d", host, port, bytes), nil)
	if err != nil {
		return 0, err
	}
	moved = r.number()
	return moved, r.err
}

// PowerOff makes the app VM power itself off and waits until it is gone.
func (p *App) PowerOff(ctx context.Context, limit time.Duration) error {
	if _, err := p.do(ctx, limit, "off", nil); err != nil {
		return err
	}
	return p.console.WaitExit(ctx, limit)
}

// do sends a command, unless it is empty, and waits for its end or for an answer that interim accepts, if that is given.
func (p *App) do(ctx context.Context, limit time.Duration, command string, interim func(answer) bool) (reader, error) {
	if command != "" {
		p.mark = p.console.Mark()
		if err := p.console.Send(command); err != nil {
			return reader{}, err
		}
	}
	what := "end of the command"
	if command != "" {
		what = fmt.Sprintf("end of %q", command)
	}
	line, next, err := p.console.Expect(ctx, p.mark, limit, what, func(line string) bool {
		a, ok := parseAnswer(line)
		return ok && (a.status == "ok" || a.status == "failed" || interim != nil && interim(a))
	})
	if err != nil {
		return reader{}, err
	}
	p.mark = next
	a, _ := parseAnswer(line)
	if a.status == "failed" {
		return reader{}, p.console.Explain(fmt.Errorf("%s failed: %s", a.name, strings.Join(a.fields, " ")))
	}
	return reader{answer: a}, nil
}
