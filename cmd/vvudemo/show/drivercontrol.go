package show

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/gopacket/pcapgo"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/control"
)

// askDriver asks vvufwd in the driver VM, as vvuctl does, and reads live what passes the NIC while the app VM pings: by one reader, and by
// another after it, which gets a file of its own from its beginning.
func (d *demo) askDriver(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	c, err := control.Dial(ctx, channel.Address{Kind: channel.UNIX, Path: d.serialSocket(controlPort)})
	if err != nil {
		return "", err
	}
	defer c.Close()
	var version string
	if err := c.Ask(ctx, control.Request{Do: control.Version}, &version); err != nil {
		return "", err
	}
	var links []control.Link
	if err := c.Ask(ctx, control.Request{Do: control.Links}, &links); err != nil {
		return "", err
	}
	for _, l := range links {
		if !l.Up {
			return "", fmt.Errorf("the link of %s is down: %s", l.Name, l.Why)
		}
	}
	frames := 0
	for range 2 {
		n, err := d.readLive(ctx, c)
		if err != nil {
			return "", err
		}
		frames += n
	}
	var list []control.Capture
	if err := c.Ask(ctx, control.Request{Do: control.Captures, Set: control.Off}, &list); err != nil {
		return "", err
	}
	for _, one := range list {
		if one.On {
			return "", fmt.Errorf("the capture of %s goes on though it was stopped", one.Port)
		}
	}
	if err := c.Ask(ctx, control.Request{Do: control.Captures, Set: control.On}, &list); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s answers, %d links are up, %d frames at the NIC read live by two readers", version, len(links), frames), nil
}

// readLive reads a few frames as they pass, of pings that were sent after the reader came.
func (d *demo) readLive(ctx context.Context, c *control.Client) (frames int, err error) {
	at := channel.Address{Kind: channel.UNIX, Path: d.serialSocket(livePort)}
	conn, err := at.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r, err := pcapgo.NewNgReader(conn, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		return 0, fmt.Errorf("read the NIC's frames live: %w", err)
	}
	pinged := make(chan error, 1)
	const pings = 3
	go func() {
		_, err := d.apps[0].Ping(ctx, commandLimit, d.network.host, pings)
		pinged <- err
	}()
	for frames < 2*pings {
		if _, _, err := r.ReadPacketData(); err != nil {
			return frames, errors.Join(fmt.Errorf("frame %d at the NIC, live: %w", frames, err), conn.Close())
		}
		frames++
	}
	if err := <-pinged; err != nil {
		return frames, err
	}
	if err := conn.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return frames, err
	}
	// QEMU tells the machine that the reader has left, and lets the next one in.
	for {
		var list []control.Capture
		if err := c.Ask(ctx, control.Request{Do: control.Captures}, &list); err != nil {
			return frames, err
		}
		for _, one := range list {
			if one.File == "virtio-serial:"+livePort && one.Reader != nil && !*one.Reader {
				return frames, nil
			}
		}
		select {
		case <-ctx.Done():
			return frames, fmt.Errorf("the capture goes on for a reader that has left: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
