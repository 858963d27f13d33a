package guest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Setting is a number that ethtool shows and changes.
type Setting struct {
	Current int64 `json:"current"`
	Max     int64 `json:"max"`
}

// Offloads asks the app VM what ethtool says about its network device's offloads: true where one is on.
func (p *App) Offloads(ctx context.Context, limit time.Duration) (map[string]bool, error) {
	r, err := p.do(ctx, limit, "offloads", nil)
	if err != nil {
		return nil, err
	}
	offloads := make(map[string]bool, len(r.fields))
	for _, field := range r.fields {
		name, value, found := strings.Cut(field, "=")
		if !found || value != "on" && value != "off" {
			return nil, fmt.Errorf("%w: %s: %q is not NAME=on|off", errAnswer, r.name, field)
		}
		offloads[name] = value == "on"
	}
	return offloads, nil
}

// Channels asks the app VM for the number of queue pairs that its network device uses.
func (p *App) Channels(ctx context.Context, limit time.Duration) (Setting, error) {
	return p.setting(ctx, limit, "channels")
}

// SetChannels changes it.
func (p *App) SetChannels(ctx context.Context, limit time.Duration, pairs int) (Setting, error) {
	return p.setting(ctx, limit, fmt.Sprintf("channels %d", pairs))
}

// Ring asks the app VM for the number of entries of its receive rings.
func (p *App) Ring(ctx context.Context, limit time.Duration) (Setting, error) {
	return p.setting(ctx, limit, "ring")
}

// SetRing changes it.
func (p *App) SetRing(ctx context.Context, limit time.Duration, entries int) (Setting, error) {
	return p.setting(ctx, limit, fmt.Sprintf("ring %d", entries))
}

func (p *App) setting(ctx context.Context, limit time.Duration, command string) (Setting, error) {
	r, err := p.do(ctx, limit, command, nil)
	if err != nil {
		return Setting{}, err
	}
	s := Setting{Current: r.number(), Max: r.number()}
	return s, r.err
}
