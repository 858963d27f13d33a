package hostile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// The ports of a switch under test: a victim's traffic passes between the first two,
// an attacker is behind the third, and well-behaved guests behind the rest. The guests'
// addresses are theirs alone, those of the victim have to be learned.
const (
	attackerPort = 2
	firstGuest   = 3
	switchPorts  = 8
)

// stationAddress is the address of the guest behind a port.
func stationAddress(port int) [6]byte { return [6]byte{0x02, 0, 0, 0, 0, byte(port)} }

// startSwitch starts vvufwd with such a switch. Ports may have more options.
func startSwitch(t *testing.T, more func(port int) string, flags ...string) *forwarder {
	t.Helper()
	var options []string
	for i := range switchPorts {
		option := more(i)
		if i >= firstGuest {
			a := stationAddress(i)
			option += ",mac=" + net.HardwareAddr(a[:]).String()
		}
		options = append(options, option)
	}
	return startForwarderWith(t, options, append([]string{"--switch"}, flags...)...)
}

// between is a frame that tells of itself, from one address to another.
func between(dst, src [6]byte) []byte {
	serial++
	f := testFrame(serial, 100)
	copy(f, dst[:])
	copy(f[6:], src[:])
	return f
}

var everyone = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// sent sends a frame from a guest and returns the ports where it has come out; those
// that must not be reached are given the time that the others took, and more.
func sent(t *testing.T, guests map[int]*guest, from int, f []byte) (at []int) {
	t.Helper()
	if err := guests[from].sendWithin(patience, f); err != nil {
		t.Fatal(err)
	}
	// A marker that reaches everyone is sent after it: what came out came before.
	marker := between(everyone, stationAddress(from))
	if err := guests[from].sendWithin(patience, marker); err != nil {
		t.Fatal(err)
	}
	number := func(b []byte) uint64 {
		if len(b) < 22 {
			return 0
		}
		return binary.LittleEndian.Uint64(b[14:])
	}
	for port := range switchPorts {
		g := guests[port]
		if g == nil || port == from {
			continue
		}
		for found := false; ; {
			got, err := g.awaitFrame(patience, func(b []byte) bool { return number(b) == number(f) || number(b) == number(marker) })
			if err != nil {
				t.Fatalf("port %d: %v", port, err)
			}
			if number(got) == number(marker) {
				if found {
					at = append(at, port)
				}
				break
			}
			if found {
				t.Errorf("port %d: the frame came twice", port)
			}
			found = true
		}
	}
	return at
}

func joinSwitch(t *testing.T, f *forwarder) map[int]*guest {
	t.Helper()
	guests := map[int]*guest{}
	for port := attackerPort; port < switchPorts; port++ {
		guests[port] = join(t, f.sockets[port])
		t.Cleanup(func() { guests[port].leave() })
	}
	return guests
}

// TestSwitch passes frames among eight ports of a running vvufwd and tries to send
// under a false name.
func TestSwitch(t *testing.T) {
	f := startSwitch(t, func(int) string { return "" })
	guests := joinSwitch(t, f)
	want := func(got []int, want ...int) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("came out at %v, want %v", got, want)
		}
	}
	unknown := [6]byte{0x02, 1, 1, 1, 1, 1}
	want(sent(t, guests, 4, between(everyone, stationAddress(4))), 2, 3, 5, 6, 7)
	want(sent(t, guests, 4, between(unknown, stationAddress(4))), 2, 3, 5, 6, 7)
	want(sent(t, guests, 4, between(stationAddress(6), stationAddress(4))), 6) // known before it spoke
	want(sent(t, guests, 4, between(stationAddress(4), stationAddress(4))))
	want(sent(t, guests, 4, between([6]byte{0x01, 0x80, 0xc2}, stationAddress(4))))
	want(sent(t, guests, 4, between(stationAddress(6), stationAddress(5)))) // another's address
	want(sent(t, guests, 4, between(stationAddress(6), unknown)))
	want(sent(t, guests, attackerPort, between(stationAddress(6), stationAddress(5)))) // from a port without
	want(sent(t, guests, 6, between(stationAddress(attackerPort), stationAddress(6))), attackerPort)
	eventually(t, "what was refused is counted", func() bool {
		a, b := f.stats.port(f.sockets[4]).Drops, f.stats.port(f.sockets[attackerPort]).Drops
		return a["spoofed"] == 2 && a["filtered"] == 2 && b["spoofed"] == 1
	})
}

// announces reports whether a frame is vvufwd's own word, in RARP, of where an address
// is that it was told.
func announces(frame []byte, address [6]byte) bool {
	return len(frame) >= 14 && [6]byte(frame) == everyone && [6]byte(frame[6:]) == address && frame[12] == 0x80 && frame[13] == 0x35
}

// TestSwitchIsolation finds no way between isolated guests.
func TestSwitchIsolation(t *testing.T) {
	f := startSwitch(t, func(port int) string {
		if port < firstGuest || port == 7 {
			return ""
		}
		return ",isolate"
	})
	guests := joinSwitch(t, f)
	for from := firstGuest; from < 7; from++ {
		for to := firstGuest; to <= 7; to++ {
			if from == to {
				continue
			}
			serial++
			frame := between(stationAddress(to), stationAddress(from))
			if err := guests[from].sendWithin(patience, frame); err != nil {
				t.Fatal(err)
			}
			if to != 7 {
				continue
			}
			if _, err := guests[7].awaitFrame(patience, func(b []byte) bool { return string(b) == string(frame) }); err != nil {
				t.Error(err)
			}
		}
		broadcast := between(everyone, stationAddress(from))
		if err := guests[from].sendWithin(patience, broadcast); err != nil {
			t.Fatal(err)
		}
		if _, err := guests[7].awaitFrame(patience, func(b []byte) bool { return string(b) == string(broadcast) }); err != nil {
			t.Error(err)
		}
	}
	// All of it has been dealt with: nothing has arrived.
	for port := firstGuest; port < 7; port++ {
		got, err := guests[port].receive()
		for ; announces(got, stationAddress(7)); got, err = guests[port].receive() {
		}
		if err != nil || got != nil {
			t.Errorf("port %d: received %x, %v", port, got, err)
		}
	}
}

// TestSwitchUnderFlood has a guest invent source addresses, and change addresses
// after they were checked, as fast as it can. The victim behind other ports loses
// nothing, and no one receives a frame under a name that is not the attacker's. Its
// frames are for a known address: those for everyone would fill the victim's rings
// too, as they do behind any switch.
func TestSwitchUnderFlood(t *testing.T) {
	f := startSwitch(t, func(int) string { return "" }, "--mac-limit=16")
	guests := joinSwitch(t, f)
	startVictim(t, f, 0, 1, gentle...)
	attacker, listener := guests[attackerPort], guests[firstGuest]
	rnd := rand.New(rand.NewPCG(1, 2))
	length := 2 * time.Second
	if d := soakTime(t); d > 0 {
		length = min(d, 5*time.Minute)
	}
	owned := 0
	for end := time.Now().Add(length); time.Now().Before(end); {
		dst, src := stationAddress(firstGuest), [6]byte{0x02, 9}
		binary.LittleEndian.PutUint32(src[2:], rnd.Uint32())
		if err := attacker.send(between(dst, src)); err != nil && err != errFull {
			t.Fatal(err)
		}
		// In the buffers that are on their way: a guest's address.
		for k := range ringEntries {
			mine := stationAddress(firstGuest + 1)
			copy(attacker.ram.at(attacker.rings[transmitRing].buffer(k)+vnetHeader+6, 6), mine[:])
		}
		for {
			got, err := listener.receive()
			if err != nil {
				t.Fatal(err)
			}
			if got == nil {
				break
			}
			if mine := stationAddress(firstGuest + 1); len(got) >= 12 && [6]byte(got[6:12]) == mine && !announces(got, mine) {
				owned++
			}
		}
		for port := attackerPort; port < switchPorts; port++ {
			if port != firstGuest {
				if err := guests[port].drain(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if owned != 0 {
		t.Errorf("%d frames arrived under the name of another guest", owned)
	}
	f.alive(t)
	// The others' addresses are where they were: nothing is sent to all.
	frame := between(stationAddress(7), stationAddress(6))
	if err := guests[6].sendWithin(patience, frame); err != nil {
		t.Fatal(err)
	}
	if _, err := guests[7].awaitFrame(patience, func(b []byte) bool { return string(b) == string(frame) }); err != nil {
		t.Error(err)
	}
	for port := attackerPort; port < 6; port++ {
		for got, err := guests[port].receive(); got != nil || err != nil; got, err = guests[port].receive() {
			if err != nil || string(got) == string(frame) {
				t.Errorf("after the flood port %d receives what is for port 7 (%v)", port, err)
				break
			}
		}
	}
}
