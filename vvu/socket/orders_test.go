package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// monitor is a monitor whose orders are recorded, with its guest, and the back-end that it
// finds at its socket.
type monitor struct {
	*vvutest.Player
	t    *testing.T
	path string
	wire *vvutest.Wire // of the first pair
	all  []*vvutest.Wire
	stop func() // of the back-end
	sent int    // frames each way so far, each of which has another content
}

// maxPairs is how many queue pairs the back-end serves.
const maxPairs = 2

func newMonitor(t *testing.T, name string, features virtio.Features) *monitor {
	t.Helper()
	return newMonitorLike(t, name, vvutest.AppConfig{Features: features})
}

func newMonitorLike(t *testing.T, name string, cfg vvutest.AppConfig) *monitor {
	t.Helper()
	m := &monitor{t: t, path: filepath.Join(t.TempDir(), "order.sock")}
	m.serve()
	p, err := vvutest.NewPlayer(vvutest.NewRAM(t), m.path, vvutest.LoadOrders(t, name), cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Player = p
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { m.stop() })
	m.play("connect")
	return m
}

// serve starts the back-end, in place of the one before if there was one.
func (m *monitor) serve() {
	m.t.Helper()
	if m.stop != nil {
		m.stop()
	}
	e, err := listen(m.path, maxPairs, zap.NewNop())
	if err != nil {
		m.t.Fatal(err)
	}
	m.all, m.stop = onWires(m.t, e)
	m.wire = m.all[0]
}

func (m *monitor) play(sections ...string) {
	m.t.Helper()
	for _, s := range sections {
		if err := m.Play(s); err != nil {
			m.t.Fatal(err)
		}
	}
}

// boot is a guest's driver that takes the device.
func (m *monitor) boot() {
	m.t.Helper()
	if err := m.Fresh(); err != nil {
		m.t.Fatal(err)
	}
	m.play("start")
	m.Offer()
}

// traffic sends frames each way, each of which must arrive as it was.
func (m *monitor) traffic() {
	m.t.Helper()
	for range 3 * 16 { // a ring has 16 entries
		m.queue(1)() // once it is here, the rings run: crosvm does not ask whether they do
		in := pattern(1200, m.sent)
		m.wire.Push(in)
		if got, err := m.Receive(); err != nil || !bytes.Equal(got, in) {
			m.t.Fatalf("frame %d to the guest: %d bytes, %v", m.sent, len(got), err)
		}
	}
}

// queue has the guest send frames that no one takes yet; arrive waits for them.
func (m *monitor) queue(n int) (arrive func()) {
	m.t.Helper()
	first := m.sent + 1
	for range n {
		m.sent++
		if err := m.Send(pattern(700, m.sent)); err != nil {
			m.t.Fatal(err)
		}
	}
	return func() {
		m.t.Helper()
		for k := first; k < first+n; k++ {
			if got, err := m.wire.Pop(); err != nil || !bytes.Equal(got, pattern(700, k)) {
				m.t.Fatalf("waiting frame %d of %d: got %d bytes, %v", k-first+1, n, len(got), err)
			}
		}
	}
}

// TestCloudHypervisor plays what cloud-hypervisor sends in a virtual machine's life.
func TestCloudHypervisor(t *testing.T) {
	m := newMonitor(t, "cloud-hypervisor", 0)
	m.checkConfig(m.Config())
	if m.QueueNum < 2 { // BadQueueNum
		t.Errorf("GET_QUEUE_NUM answers %d", m.QueueNum)
	}
	m.boot()
	m.traffic()
	for range 3 { // vm.pause, vm.resume
		m.play("pause", "resume")
		m.traffic()
	}
	m.play("reset") // firmware gives the device to Linux
	m.boot()
	m.traffic()
	m.hotPlug()
	m.traffic()
	m.play("reset")
	m.boot() // a reboot, all of its memory in one table
	m.traffic()
}

// hotPlug adds memory while frames are under way, none of which may get lost, and has the
// guest use it.
func (m *monitor) hotPlug() {
	m.t.Helper()
	const frames = 200
	for k := range frames {
		m.wire.Push(pattern(900, k))
	}
	m.PlugMirror()
	m.play("hot-plug")
	for k := range frames {
		if got, err := m.Receive(); err != nil || !bytes.Equal(got, pattern(900, k)) {
			m.t.Fatalf("frame %d of %d: got %d bytes, %v", k+1, frames, len(got), err)
		}
	}
}

// TestCloudHypervisorReconnects ends the back-end, idle and with frames waiting, and starts
// another one.
func TestCloudHypervisorReconnects(t *testing.T) {
	for _, test := range []struct {
		name, section string
		features      virtio.Features
	}{
		{"any order", "reconnect", 0},
		{"in order", "reconnect in order", virtio.InOrder},
	} {
		t.Run(test.name, func(t *testing.T) {
			features := vvutest.LoadOrders(t, "cloud-hypervisor").Features &^ virtio.LogAll
			m := newMonitor(t, "cloud-hypervisor", features|test.features)
			m.boot()
			m.traffic()
			for _, waiting := range []int{0, 5, 1} {
				m.serve()
				arrive := m.queue(waiting)
				if err := m.Redial(m.path); err != nil {
					t.Fatal(err)
				}
				m.play(test.section)
				arrive()
				m.traffic()
			}
		})
	}
}

// TestCloudHypervisorMigrates moves a virtual machine: its memory is copied while it goes on, by a
// log that is collected again and again, and the rest once it is paused. At the destination, which
// has a back-end of its own, frames that were not sent yet are.
func TestCloudHypervisorMigrates(t *testing.T) {
	m := newMonitor(t, "cloud-hypervisor", 0)
	if !m.Protocol.Has(vhostuser.ProtoLogShmFD) || !m.Offered.Has(virtio.LogAll) {
		t.Fatalf("LOG_SHMFD and LOG_ALL are not offered, only %v, %v", m.Protocol, m.Offered)
	}
	m.boot()
	m.traffic()
	m.play("log starts")
	for range 3 {
		m.traffic()
		m.play("log is collected")
		m.checkLog()
	}
	m.play("log stops")
	m.traffic()
	m.play("log starts")
	m.traffic()
	m.play("pause", "log is collected")
	m.checkLog()
	m.serve()
	arrive := m.queue(3)
	if err := m.Redial(m.path); err != nil {
		t.Fatal(err)
	}
	m.play("arrival", "start")
	arrive()
	m.traffic()
}

// checkLog wants every page in the log that was written since the last look, and none that was
// only read.
func (m *monitor) checkLog() {
	m.t.Helper()
	for ring := range 2 {
		written, err := m.Written(ring)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, gpa := range written {
			if !m.Log.Has(gpa) {
				m.t.Errorf("ring %d: the page of %#x was written, and is not in the log", ring, gpa)
			}
		}
	}
	read, err := m.Unwritten(1)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, gpa := range read {
		if m.Log.Has(gpa) {
			m.t.Errorf("the page of %#x was only read, but is in the log", gpa)
		}
	}
}

// TestCrosvm plays what crosvm sends in a virtual machine's life.
func TestCrosvm(t *testing.T) {
	m := newMonitor(t, "crosvm", 0)
	m.play("probe")
	m.boot()
	m.traffic()
	for range 3 {
		m.play("sleep")
		arrive := m.queue(7) // its processors were stopped after that
		m.play("wake")
		arrive()
		m.traffic()
	}
	m.play("reset", "probe")
	m.boot()
	m.traffic()
}

// TestCrosvmWithoutConfig reads the configuration space all the same. It may be refused, but
// the session goes on.
func TestCrosvmWithoutConfig(t *testing.T) {
	m := newMonitor(t, "crosvm", 0)
	m.Orders.Protocol &^= vhostuser.ProtoConfig
	if err := m.Redial(m.path); err != nil {
		t.Fatal(err)
	}
	m.play("connect")
	if m.Protocol.Has(vhostuser.ProtoConfig) {
		t.Fatal("CONFIG is in force")
	}
	m.play("probe")
	m.boot()
	m.traffic()
}

// TestCrosvmQueuePairs has a guest with several queue pairs, of which it chooses how many to use
// through the control queue. crosvm hands all rings over, that one too.
func TestCrosvmQueuePairs(t *testing.T) {
	features := vvutest.LoadOrders(t, "crosvm").Features | virtio.NetMQ | virtio.NetCtrlVQ | virtio.NetCtrlRX
	m := newMonitorLike(t, "crosvm", vvutest.AppConfig{Features: features, Pairs: maxPairs, Control: true})
	if m.QueueNum != 2*maxPairs+1 {
		t.Fatalf("GET_QUEUE_NUM answers %d, want %d: the control queue is one of crosvm's rings", m.QueueNum, 2*maxPairs+1)
	}
	m.play("probe")
	m.boot()
	m.traffic()
	m.command(0, mqClass, pairsSet, 2, 0)
	m.onAllPairs()
	for _, wrong := range []byte{0, maxPairs + 1} {
		m.command(1, mqClass, pairsSet, wrong, 0)
	}
	m.command(0, rxClass, promisc, 1)
	m.command(1, 77, 0) // of no class that there is
	m.play("sleep", "wake")
	m.command(0, mqClass, pairsSet, 2, 0)
	m.onAllPairs()
	m.command(0, mqClass, pairsSet, 1, 0)
	m.traffic()
	m.play("reset")
	m.boot()
	m.traffic()
	m.command(0, mqClass, pairsSet, 2, 0)
	m.onAllPairs()
}

// Classes and commands of the control queue (virtio 1.3, 5.1.6.5).
const (
	rxClass, promisc  = 0, 0
	mqClass, pairsSet = 4, 0
)

func (m *monitor) command(want, class, command byte, data ...byte) {
	m.t.Helper()
	if ack, err := m.Command(class, command, data...); err != nil || ack != want {
		m.t.Fatalf("command %d of class %d with %v is acknowledged with %d, %v, want %d", command, class, data, ack, err, want)
	}
}

// onAllPairs sends frames each way through every pair.
func (m *monitor) onAllPairs() {
	m.t.Helper()
	for range 3 * 16 {
		for pair, wire := range m.all {
			m.sent++
			if err := pass(m.App, wire, pair); err != nil {
				m.t.Fatalf("frame %d: %v", m.sent, err)
			}
		}
	}
}

// checkConfig wants a configuration space in which nothing is false (virtio 1.3, 5.1.4).
func (m *monitor) checkConfig(config []byte) {
	m.t.Helper()
	if len(config) < 12 {
		m.t.Errorf("the configuration space has %d bytes", len(config))
		return
	}
	pairs, mtu := binary.LittleEndian.Uint16(config[8:]), binary.LittleEndian.Uint16(config[10:])
	var wrong []error
	if m.Offered.Has(virtio.NetMAC) && bytes.Equal(config[:6], make([]byte, 6)) {
		wrong = append(wrong, errors.New("MAC is offered, and the address is zero"))
	}
	if m.Offered.Has(virtio.NetMQ) && (pairs < 1 || pairs > 0x8000) {
		wrong = append(wrong, fmt.Errorf("MQ is offered, and there are %d pairs", pairs))
	}
	if m.Offered.Has(virtio.NetMQ) && !m.Offered.Has(virtio.NetCtrlVQ) {
		wrong = append(wrong, errors.New("MQ is offered without CTRL_VQ"))
	}
	if m.Offered.Has(virtio.NetMTU) && mtu < 68 {
		wrong = append(wrong, fmt.Errorf("MTU is offered, and it is %d", mtu))
	}
	if err := errors.Join(wrong...); err != nil {
		m.t.Errorf("%v: %v", m.Offered, err)
	}
}
