package show

import (
	"context"
	"fmt"
	"time"
)

// switchSteps show several app VMs behind one NIC.
func (d *demo) switchSteps() []step {
	steps := []step{{"app VMs", d.startApps}, {"leases", d.getLeases}, {"pings", d.pingAll}, {"transfers", d.transferAll}, {"neighbours", d.neighbours}, {"VLAN", d.vlan}}
	return append(append(steps, step{"counters", d.countSwitch}), d.lastSteps(false)...)
}

// getLeases lets the app VMs ask for their addresses one after the other, because user networking gives them out in that order.
func (d *demo) getLeases(ctx context.Context) (string, error) {
	var figure string
	for _, a := range d.apps {
		var err error
		if a.lease, err = a.Lease(ctx, commandLimit); err != nil {
			return "", err
		}
		figure += " " + a.lease.Address
	}
	d.report.Lease = &d.apps[0].lease
	return "udhcpc got" + figure, nil
}

// pingAll lets all app VMs ping the host at the same time.
func (d *demo) pingAll(ctx context.Context) (string, error) {
	err := d.together(func(a *appVM) error {
		pings, err := a.Ping(ctx, commandLimit, d.network.host, PingCount)
		if err == nil && (pings.Sent != PingCount || pings.Received != pings.Sent) {
			err = fmt.Errorf("%s: of %d echo requests %d were sent and %d answered", a.name(), PingCount, pings.Sent, pings.Received)
		}
		return err
	})
	return fmt.Sprintf("%d of %d from each, at the same time", PingCount, PingCount), err
}

// transferAll moves a file to and from each app VM, all at the same time as far as an app VM does two things at a time.
func (d *demo) transferAll(ctx context.Context) (string, error) {
	begin := time.Now()
	// While the first app VMs download, the others are downloaded from.
	err := d.together(func(a *appVM) error {
		both := []func(context.Context, *appVM) (*Transfer, string, error){d.downloadTo, d.uploadFrom}
		if a.number%2 == 1 {
			both[0], both[1] = both[1], both[0]
		}
		for _, transfer := range both {
			_, figure, err := transfer(ctx, a)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name(), err)
			}
			d.progress.say("transfers", "%s", figure)
		}
		return nil
	})
	return fmt.Sprintf("%s to and from each of %d, in %.1f s", size(d.transferBytes()), len(d.apps), time.Since(begin).Seconds()), err
}

// neighbours shows that app VMs reach each other, or that they do not.
func (d *demo) neighbours(ctx context.Context) (string, error) {
	from, to := d.apps[0], d.apps[len(d.apps)-1]
	return d.pingNeighbour(ctx, from, to.lease.IP())
}

// pingNeighbour pings one app VM from another.
func (d *demo) pingNeighbour(ctx context.Context, from *appVM, address string) (string, error) {
	pings, err := from.Ping(ctx, commandLimit, address, neighbourPings)
	if err != nil {
		return "", err
	}
	figure := fmt.Sprintf("from the %s to %s, %d of %d echo requests were answered", from.name(), address, pings.Received, pings.Sent)
	want := int64(neighbourPings)
	if d.Isolate {
		want = 0
	}
	if pings.Sent != neighbourPings || pings.Received != want {
		return "", fmt.Errorf("%s, want %d", figure, want)
	}
	return figure, nil
}

// neighbourPings is the number of echo requests from one app VM to another.
const neighbourPings = 5

// vlanModules are what an app VM needs for vlan.
var vlanModules = []string{"8021q"}

// A VLAN that only the app VMs are in.
const (
	vlanID      = 5
	vlanNetwork = "10.231.78"
)

// vlan shows that frames with a VLAN tag pass, both ways, or that isolation holds for them too.
func (d *demo) vlan(ctx context.Context) (string, error) {
	for _, a := range d.apps {
		if err := a.VLAN(ctx, commandLimit, vlanID, fmt.Sprintf("%s.%d/24", vlanNetwork, a.number+1)); err != nil {
			return "", err
		}
	}
	return d.pingNeighbour(ctx, d.apps[0], fmt.Sprintf("%s.%d", vlanNetwork, len(d.apps)))
}

// countSwitch checks that every port carried its transfers.
func (d *demo) countSwitch(ctx context.Context) (string, error) {
	s, err := d.counters.Now(ctx)
	if err != nil {
		return "", err
	}
	d.report.Ports = s.Ports
	if len(s.Ports) != len(d.apps)+1 {
		return "", fmt.Errorf("vvufwd's statistics have %d ports, want %d: %+v", len(s.Ports), len(d.apps)+1, s.Ports)
	}
	var lost uint64
	for _, p := range s.Ports {
		if p.RxBytes < uint64(d.transferBytes()) || p.TxBytes < uint64(d.transferBytes()) {
			return "", fmt.Errorf("vvufwd counted less than what was transferred: %+v", p)
		}
		lost += p.Dropped()
	}
	return fmt.Sprintf("%d ports carried at least %s each way; dropped %d", len(s.Ports), size(d.transferBytes()), lost), nil
}
