package counters

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// statistics is a line as vvufwd prints it.
func statistics(rx uint64) string {
	return fmt.Sprintf(`{"time":"2026-11-24T05:34:31Z","ports":[`+
		`{"name":"vvu:0000:00:05.0","rx_packets":%d,"rx_bytes":100,"tx_packets":3,"tx_bytes":400,"notifications":1,"drops":{"no_peer":2,"runt":1}},`+
		`{"name":"virtio-net:0000:00:04.0","rx_packets":5,"rx_bytes":6,"tx_packets":7,"tx_bytes":8,"notifications":0,"drops":{}}],"loops":[{"cpu":1,"pairs":2},{"cpu":-1,"pairs":1}]}`, rx)
}

func TestStatisticsAmongOtherLines(t *testing.T) {
	f := NewFollower()
	for _, line := range []string{"", "INFO forwarding", `{"time":1`, `{"time":1,"ports":[]}`} {
		f.Feed(line)
	}
	if got := f.Last(); len(got.Ports) != 0 {
		t.Fatalf("statistics out of nothing: %+v", got)
	}
	f.Feed("[ 1.0] message " + statistics(10))
	ports := f.Last().Ports
	if len(ports) != 2 {
		t.Fatalf("ports = %+v, want two", ports)
	}
	if loops := f.Last().Loops; len(loops) != 2 || loops[0].Pairs != 2 || loops[1].Pairs != 1 {
		t.Errorf("loops = %+v, of which one joins two pairs and the other one", loops)
	}
	if p := ports[0]; p.Name != "vvu:0000:00:05.0" || p.RxPackets != 10 || p.TxBytes != 400 || p.Dropped() != 3 {
		t.Errorf("first port = %+v", p)
	}
	if p := ports[1]; p.TxPackets != 7 || p.Dropped() != 0 {
		t.Errorf("second port = %+v", p)
	}
}

// TestNowSkipsTheSampleOnItsWay wants the second sample after the call.
func TestNowSkipsTheSampleOnItsWay(t *testing.T) {
	f := NewFollower()
	f.Feed(statistics(1))
	got := make(chan Sample)
	go func() {
		s, err := f.Now(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- s
	}()
	for n := uint64(2); ; n++ {
		select {
		case s := <-got:
			if len(s.Ports) != 2 || s.Ports[0].RxPackets < 3 {
				t.Errorf("sample = %+v; want the third or a later one", s)
			}
			return
		case <-time.After(time.Millisecond):
			f.Feed(statistics(n))
		}
	}
}

func TestNowEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("interrupted")
	cancel(why)
	if _, err := NewFollower().Now(ctx); !errors.Is(err, why) {
		t.Errorf("error = %v", err)
	}
}
