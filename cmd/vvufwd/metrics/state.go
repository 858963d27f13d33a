package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"vvufwd/cmd/internal/control"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/l2nat"
	"vvufwd/netfwd/nic"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// State is what metrics are made of.
type State struct {
	Version  string // as --version prints it
	Start    time.Time
	Stats    netfwd.Stats
	Ports    []control.Port // in the order of the command line
	Links    []control.Link
	Captures []control.Capture
}

// Text is the state as Prometheus reads it.
func Text(s State) string {
	var t text
	t.about(s)
	t.queues(s)
	t.links(s)
	t.devices(s)
	t.loops(s.Stats.Loops)
	t.captures(s.Captures)
	return t.out.String()
}

func (t *text) about(s State) {
	words := append(strings.Fields(s.Version), "", "", "", "")
	t.family("vvufwd_build_info", gauge, "The program that runs; always 1.")
	platform := slices.IndexFunc(words, func(w string) bool { return strings.Contains(w, "/") })
	goVersion := ""
	if platform > 0 {
		goVersion = words[platform+1]
		words = words[:platform]
	}
	t.count(1, "version", strings.TrimSpace(strings.Join(words[1:], " ")), "goversion", goVersion)
	// It is not process_start_time_seconds, as is the convention, because node_exporter has that itself, and the text may come by way of its
	// textfile collector.
	t.family("vvufwd_start_time_seconds", gauge, "When the program was started, since 1970.")
	t.number(float64(s.Start.UnixMilli()) / 1000)
}

// queue is a queue pair with its labels.
type queue struct {
	netfwd.PortStats
	labels []string
}

// queuesOf finds out to which port each queue pair belongs.
func queuesOf(s State) (list []queue) {
	for _, p := range s.Stats.Ports {
		name, number := p.Name, "0"
		if !slices.ContainsFunc(s.Ports, func(of control.Port) bool { return of.Name == name }) {
			if i := strings.LastIndex(name, "/q"); i >= 0 {
				name, number = name[:i], name[i+2:]
			}
		}
		list = append(list, queue{p, []string{"port", name, "queue", number}})
	}
	return list
}

func (t *text) queues(s State) {
	list := queuesOf(s)
	each := func(name, help string, value func(netfwd.PortStats) uint64) {
		t.family(name, counter, help)
		for _, q := range list {
			t.count(value(q.PortStats), q.labels...)
		}
	}
	type stats = netfwd.PortStats
	each("vvufwd_port_receive_frames_total", "Frames that came from a port's guest or device.", func(p stats) uint64 { return p.RxPackets })
	each("vvufwd_port_receive_plain_frames_total", "Frames received that were copied once, as they were.", func(p stats) uint64 { return p.Plain })
	each("vvufwd_port_receive_bytes_total", "Bytes of frames received, without FCS and virtio-net header.", func(p stats) uint64 { return p.RxBytes })
	each("vvufwd_port_transmit_frames_total", "Frames handed to a port's guest or device.", func(p stats) uint64 { return p.TxPackets })
	each("vvufwd_port_transmit_bytes_total", "Bytes of frames transmitted, without FCS and virtio-net header.", func(p stats) uint64 { return p.TxBytes })
	each("vvufwd_port_notifications_total", "Doorbells rung and kicks sent.", func(p stats) uint64 { return p.Interrupts })
	offloads := func(p stats) netfwd.OffloadStats {
		if p.Offloads == nil {
			return netfwd.OffloadStats{}
		}
		return *p.Offloads
	}
	each("vvufwd_port_offloads_passed_total", "Frames transmitted with checksum or segmentation left to the receiver.", func(p stats) uint64 { return offloads(p).Passed })
	each("vvufwd_port_checksums_completed_total", "Frames for the port whose checksum was completed here.", func(p stats) uint64 { return offloads(p).Checksummed })
	each("vvufwd_port_segments_cut_total", "Large segments for the port that were cut here.", func(p stats) uint64 { return offloads(p).Segmented })
	each("vvufwd_port_segment_pieces_total", "Frames that were made of large segments.", func(p stats) uint64 { return offloads(p).Pieces })

	t.family("vvufwd_port_drops_total", counter, "Frames dropped, by the port that refused them and the reason.")
	for _, q := range list {
		for why := range virtionet.NumDrops {
			t.count(q.Drops[why.String()], append(q.labels, "reason", why.String())...)
		}
	}
	t.family("vvufwd_port_ring_faults_total", counter, "Rings stopped because the other side broke a rule, by the rule.")
	for _, q := range list {
		for fault := vring.Fault(1); fault < vring.NumFaults; fault++ {
			t.count(q.Faults[fault.String()], append(q.labels, "fault", fault.String())...)
		}
		t.count(q.Faults[netfwd.MemoryFault], append(q.labels, "fault", netfwd.MemoryFault)...)
	}
}

func (t *text) links(s State) {
	t.family("vvufwd_port_up", gauge, "1 if a NIC or interface has a link, or a guest runs its rings.")
	for _, l := range s.Links {
		t.flag(l.Up, "port", l.Name, "kind", l.Kind)
	}
	t.family("vvufwd_port_queues", gauge, "Queue pairs that carry frames now.")
	for _, p := range s.Ports {
		t.count(uint64(p.Used), "port", p.Name)
	}
}

// devices are NICs and interfaces, which count for themselves.
func (t *text) devices(s State) {
	nics, interfaces, stations := map[string]nic.State{}, map[string]netdev.Stats{}, map[string]l2nat.Stats{}
	var names []string
	for _, p := range s.Stats.Ports {
		switch d := p.Device.(type) {
		case nic.State:
			nics[p.Name] = d
		case netdev.Stats:
			interfaces[p.Name] = d
			if n, ok := d.Translation.(l2nat.Stats); ok {
				stations[p.Name] = n
			}
		default:
			continue
		}
		names = append(names, p.Name)
	}
	if len(nics) > 0 {
		t.family("vvufwd_nic_restarts_total", counter, "Times that a NIC which had failed was restarted.")
		each(t, names, nics, func(name string, n nic.State) { t.count(n.Restarts, "port", name) })
		t.family("vvufwd_nic_registers_total", counter, "What a NIC counts in its registers, by the register.")
		each(t, names, nics, func(name string, n nic.State) {
			for _, register := range slices.Sorted(maps.Keys(n.Counters)) {
				t.count(n.Counters[register], "port", name, "register", register)
			}
		})
	}
	if len(interfaces) > 0 {
		t.family("vvufwd_interface_returns_total", counter, "Times that an interface was gone and came back.")
		each(t, names, interfaces, func(name string, n netdev.Stats) { t.count(n.Returns, "port", name) })
		t.family("vvufwd_interface_kernel_drops_total", counter, "Frames that the kernel had no room for.")
		each(t, names, interfaces, func(name string, n netdev.Stats) {
			if n.Dropped != nil {
				t.count(*n.Dropped, "port", name)
			}
		})
	}
	if len(stations) > 0 {
		t.stations(names, stations)
	}
}

func (t *text) stations(names []string, all map[string]l2nat.Stats) {
	one := func(name, kind, help string, value func(l2nat.Stats) uint64) {
		t.family(name, kind, help)
		each(t, names, all, func(port string, n l2nat.Stats) { t.count(value(n), "port", port) })
	}
	type stats = l2nat.Stats
	one("vvufwd_l2nat_stations", gauge, "Guests behind a Wi-Fi card that have addresses.", func(n stats) uint64 { return n.Stations })
	one("vvufwd_l2nat_addresses", gauge, "IP addresses that belong to a guest.", func(n stats) uint64 { return n.Addresses })
	one("vvufwd_l2nat_moves_total", counter, "Addresses that went from one guest to another.", func(n stats) uint64 { return n.Moved })
	one("vvufwd_l2nat_refusals_total", counter, "Times an address was not remembered, because there were too many.", func(n stats) uint64 { return n.Refused })
	t.family("vvufwd_l2nat_frames_total", counter, "Frames that were not passed on, or are of interest for other reasons, by what became of them.")
	each(t, names, all, func(port string, n stats) {
		for i, value := range []uint64{n.Spoofed, n.Filtered, n.Unmapped, n.Foreign, n.Echoes} {
			t.count(value, "port", port, "what", []string{"spoofed", "filtered", "unmapped", "foreign", "echoes"}[i])
		}
	})
}

// each visits what is known of ports, in their order.
func each[T any](_ *text, names []string, all map[string]T, visit func(string, T)) {
	for _, name := range names {
		if one, ok := all[name]; ok {
			visit(name, one)
		}
	}
}

func (t *text) loops(loops []netfwd.LoopStats) {
	each := func(name, kind, help string, value func(netfwd.LoopStats) string) {
		t.family(name, kind, help)
		for i, l := range loops {
			t.sample(value(l), []string{"loop", strconv.Itoa(i)})
		}
	}
	whole := func(n uint64) string { return strconv.FormatUint(n, 10) }
	type stats = netfwd.LoopStats
	each("vvufwd_loop_cpu", gauge, "The CPU to which a loop is pinned, or -1.", func(l stats) string { return strconv.Itoa(l.CPU) })
	each("vvufwd_loop_queue_pairs", gauge, "Pairs of queue pairs that a loop serves; 0 for a switch.", func(l stats) string { return strconv.Itoa(l.Pairs) })
	each("vvufwd_loop_rounds_total", counter, "Looks at all queue pairs.", func(l stats) string { return whole(l.Rounds) })
	each("vvufwd_loop_busy_rounds_total", counter, "Rounds that moved a frame.", func(l stats) string { return whole(l.BusyRounds) })
	each("vvufwd_loop_busy_seconds_total", counter, "Time spent in rounds that moved a frame.", func(l stats) string {
		return strconv.FormatFloat(float64(l.BusyNS)/1e9, 'g', -1, 64)
	})
	for _, l := range loops {
		if sw := l.Switch; sw != nil {
			t.family("vvufwd_switch_addresses", gauge, "Addresses that the switch knows.")
			t.count(uint64(sw.Learned), "kind", "learned")
			t.count(uint64(sw.Static), "kind", "static")
			t.family("vvufwd_switch_moves_total", counter, "Addresses that were learned at another port before.")
			t.count(sw.Moves)
			t.family("vvufwd_switch_refusals_total", counter, "Frames whose address was not learned, for its port's limit.")
			t.count(sw.Refused)
			t.family("vvufwd_switch_floods_total", counter, "Frames sent to every port: group addresses and unknown ones.")
			t.count(sw.Floods)
		}
	}
}

func (t *text) captures(list []control.Capture) {
	if len(list) == 0 {
		return
	}
	t.family("vvufwd_capture_on", gauge, "1 if a capture takes frames.")
	for _, c := range list {
		t.flag(c.On && (c.Reader == nil || *c.Reader), "port", c.Port) // without a reader nothing is copied
	}
	t.family("vvufwd_capture_frames_total", counter, "Frames that a capture has looked at.")
	for _, c := range list {
		t.count(c.Frames, "port", c.Port)
	}
	t.family("vvufwd_capture_missed_frames_total", counter, "Frames that a capture has missed.")
	for _, c := range list {
		t.count(c.Missed, "port", c.Port)
	}
}
