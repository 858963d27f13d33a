package guest

import (
	"context"
	"fmt"
	"time"
)

// Spread is the outcome of pings that were sent from each of the app VM's processors.
type Spread struct {
	Processors     int64 `json:"processors"`
	Sent, Received int64
}

// Spread makes each processor of the app VM send count echo requests to host, all at the same time. Its kernel has a transmit queue
// for each processor, as long as the device has enough, so these requests go by all of them.
func (p *App) Spread(ctx context.Context, limit time.Duration, host string, count int) (Spread, error) {
	r, err := p.do(ctx, limit, fmt.Sprintf("spread %d %s", count, host), nil)
	if err != nil {
		return Spread{}, err
	}
	s := Spread{Processors: r.number(), Sent: r.number(), Received: r.number()}
	return s, r.err
}

// VLAN gives the app VM an address, with its prefix length, in a VLAN on its network device.
func (p *App) VLAN(ctx context.Context, limit time.Duration, id int, address string) error {
	_, err := p.do(ctx, limit, fmt.Sprintf("vlan %d %s", id, address), nil)
	return err
}

// BeginPing is Ping that does not wait for the end. Other commands may follow; EndPing must, before the next Begin.
func (p *App) BeginPing(ctx context.Context, limit time.Duration, host string, count int) error {
	return p.begin(ctx, limit, fmt.Sprintf("ping %d %s %d", count, host, defaultPing))
}

// EndPing waits for the end of what BeginPing began.
func (p *App) EndPing(ctx context.Context, limit time.Duration) (Pings, error) {
	r, err := p.do(ctx, limit, "join", nil)
	if err != nil {
		return Pings{}, err
	}
	return r.pings()
}

// BeginFetch is Fetch that does not wait for the end. Other commands may follow; EndFetch must, before the next Begin.
func (p *App) BeginFetch(ctx context.Context, limit time.Duration, url string) error {
	return p.begin(ctx, limit, "fetch "+url)
}

// EndFetch waits for the end of what BeginFetch began.
func (p *App) EndFetch(ctx context.Context, limit time.Duration) (Transfer, error) {
	r, err := p.do(ctx, limit, "join", nil)
	if err != nil {
		return Transfer{}, err
	}
	return r.transfer()
}

func (p *App) begin(ctx context.Context, limit time.Duration, command string) error {
	_, err := p.do(ctx, limit, "background "+command, nil)
	return err
}
