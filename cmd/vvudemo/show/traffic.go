package show

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/vvudemo/capture"
	"vvufwd/virtio"
)

// offloads shows what the app VM's driver leaves to its device, and takes from it unfinished.
func (d *demo) offloads(ctx context.Context) (string, error) {
	features, err := d.apps[0].Features(ctx, commandLimit)
	if err != nil {
		return "", err
	}
	features &= virtio.NetOffloads
	d.report.Offloads = features.String()
	return fmt.Sprintf("the app VM uses %v", features), nil
}

// getLease shows that broadcasts and answers pass.
func (d *demo) getLease(ctx context.Context) (string, error) {
	lease, err := d.apps[0].Lease(ctx, commandLimit)
	if err != nil {
		return "", err
	}
	if _, _, err := net.ParseCIDR(lease.Address); err != nil {
		return "", fmt.Errorf("the lease is not an address: %w", err)
	}
	d.apps[0].lease, d.report.Lease = lease, &lease
	return fmt.Sprintf("udhcpc got %s, router %s, in %.2f s", lease.Address, lease.Router, lease.Took.Seconds()), nil
}

// ping shows that nothing is lost.
func (d *demo) ping(ctx context.Context) (string, error) {
	d.progress.say("ping", "%d echo requests to %s", PingCount, d.network.host)
	pings, err := d.apps[0].Ping(ctx, commandLimit, d.network.host, PingCount)
	if err != nil {
		return "", err
	}
	d.report.Pings = &pings
	figure := fmt.Sprintf("%d sent, %d received, round trip %s ms (least/mean/most)", pings.Sent, pings.Received, pings.RTT)
	if pings.Sent != PingCount || pings.Received != pings.Sent {
		return figure, fmt.Errorf("of %d echo requests %d were sent and %d answered", PingCount, pings.Sent, pings.Received)
	}
	return figure, nil
}

// download shows bulk traffic to the app VM.
func (d *demo) download(ctx context.Context) (string, error) {
	t, figure, err := d.downloadTo(ctx, d.apps[0])
	d.report.Download = t
	return figure, err
}

// downloadTo makes one app VM download, and returns the transfer unless there was none.
func (d *demo) downloadTo(ctx context.Context, a *appVM) (*Transfer, string, error) {
	got, err := a.Fetch(ctx, d.transferLimit(), d.web.base+"/blob")
	if err != nil {
		return nil, "", err
	}
	t := &Transfer{Bytes: got.Bytes, SHA256: got.SHA256, Seconds: seconds(got.Took)}
	figure, err := t.compare(d.transferBytes(), d.web.sum(), fmt.Sprintf("the %s downloaded", a.name()))
	return t, figure, err
}

// upload shows bulk traffic from the app VM, over a connection that the host opens.
func (d *demo) upload(ctx context.Context) (string, error) {
	t, figure, err := d.uploadFrom(ctx, d.apps[0])
	d.report.Upload = t
	return figure, err
}

// uploadFrom fetches from one app VM what it makes for that, and returns the transfer unless there was none.
func (d *demo) uploadFrom(ctx context.Context, a *appVM) (*Transfer, string, error) {
	made, err := a.Blob(ctx, d.transferLimit(), d.transferBytes())
	if err != nil {
		return nil, "", err
	}
	limited, cancel := context.WithTimeoutCause(ctx, d.transferLimit(), fmt.Errorf("the %s's HTTP server is too slow", a.name()))
	defer cancel()
	begin := time.Now()
	bytes, sum, err := fetch(limited, d.network.appURL(a, "blob"), d.transferBytes())
	if err != nil {
		if cause := context.Cause(limited); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, "", err
	}
	t := &Transfer{Bytes: bytes, SHA256: sum, Seconds: seconds(time.Since(begin))}
	figure, err := t.compare(d.transferBytes(), made.SHA256, fmt.Sprintf("the host fetched from the %s", a.name()))
	return t, figure, err
}

// compare returns the figure of a transfer, and an error unless all of it arrived as it was.
func (t Transfer) compare(bytes int64, sum, who string) (string, error) {
	figure := fmt.Sprintf("%s %s in %.2f s, %.0f Mbit/s, SHA-256 %.8s… equal at both ends", who, size(t.Bytes), t.Seconds, t.MbitPerSecond(), t.SHA256)
	switch {
	case t.Bytes != bytes:
		return "", fmt.Errorf("%s %d of %d bytes", who, t.Bytes, bytes)
	case t.SHA256 != sum:
		return "", fmt.Errorf("what %s has SHA-256 %s, but %s was sent", who, t.SHA256, sum)
	}
	return figure, nil
}

// count reports what vvufwd counted and checks that it carried the transfers of both directions.
func (d *demo) count(ctx context.Context) (string, error) {
	s, err := d.counters.Now(ctx)
	if err != nil {
		return "", err
	}
	vvu, err := vvuPort(s.Ports)
	if err != nil {
		return "", err
	}
	nic, err := nicPort(s.Ports)
	if err != nil {
		return "", err
	}
	d.report.Ports = s.Ports
	figure := fmt.Sprintf("from the app VM %d frames in and %d out at the NIC, to it %d and %d; dropped %d", vvu.RxPackets, nic.TxPackets, nic.RxPackets, vvu.TxPackets, vvu.Dropped()+nic.Dropped())
	figure += fmt.Sprintf("; copied once, as they were: %.1f and %.1f %%", vvu.PlainPercent(), nic.PlainPercent())
	if vvu.Offloads != (counters.Offloads{}) || nic.Offloads != (counters.Offloads{}) {
		figure += fmt.Sprintf("; offloads: from the app VM %v, to it %v", nic.Offloads, vvu.Offloads)
	}
	if n := nic.SegmentedByNIC(); n > 0 {
		figure += fmt.Sprintf("; the NIC has cut %d large segments", n)
	}
	for _, c := range []struct {
		what  string
		bytes uint64
	}{
		{"received from the app VM", vvu.RxBytes}, {"sent to the app VM", vvu.TxBytes},
		{"received from the NIC", nic.RxBytes}, {"sent to the NIC", nic.TxBytes},
	} {
		if c.bytes < uint64(d.transferBytes()) {
			return figure, fmt.Errorf("vvufwd counted only %d bytes %s, although %d were transferred", c.bytes, c.what, d.transferBytes())
		}
	}
	return figure, nil
}

// capture reads back what passed the NIC.
func (d *demo) capture(context.Context) (string, error) {
	mac, err := net.ParseMAC(machine.AppMAC)
	if err != nil {
		return "", err
	}
	s, err := capture.Summarise(d.pcap(), mac)
	if err != nil {
		return "", err
	}
	d.report.Capture = s
	figure := fmt.Sprintf("%d frames from the app VM, %d to it, in %s", s.Total.FromApp.Frames, s.Total.ToApp.Frames, s.File)
	var lacks []string
	for _, check := range []struct {
		what string
		fine bool
	}{
		{"a whole DHCP exchange", s.DHCP["Discover"] > 0 && s.DHCP["Offer"] > 0 && s.DHCP["Request"] > 0 && s.DHCP["Ack"] > 0},
		{"some echo requests", s.EchoRequests >= PingCount},
		{"some echo replies", s.EchoReplies >= PingCount},
		{"the download", s.Kind(capture.TCP).ToApp.Bytes >= d.transferBytes()},
		{"the upload", s.Kind(capture.TCP).FromApp.Bytes >= d.transferBytes()},
		{"some frames of the packet generator", s.Kind(capture.VLAN).FromApp.Frames >= d.Frames},
	} {
		if !check.fine {
			lacks = append(lacks, check.what)
		}
	}
	if lacks != nil {
		return figure, fmt.Errorf("%s lacks %s", s.File, strings.Join(lacks, ", "))
	}
	return figure, d.compareWithCounters(s)
}

// compareWithCounters checks that vvufwd claims no frame at the NIC that did not pass there. Frames that passed after it counted
// are in the capture alone.
func (d *demo) compareWithCounters(s *capture.Summary) error {
	if d.Direct {
		return nil
	}
	nic, err := nicPort(d.report.Ports)
	if err != nil {
		return err
	}
	if passed := s.Total.FromApp.Frames; int64(nic.TxPackets) > passed {
		return fmt.Errorf("vvufwd counted %d frames sent to the NIC, but %d passed it", nic.TxPackets, passed)
	}
	if passed := s.Total.ToApp.Frames; int64(nic.RxPackets) > passed {
		return fmt.Errorf("vvufwd counted %d frames received from the NIC, but %d passed it", nic.RxPackets, passed)
	}
	return nil
}
