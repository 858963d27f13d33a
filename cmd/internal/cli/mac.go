package cli

import (
	"fmt"
	"net"
	"slices"
)

// ParseMAC reads the address of a station.
func ParseMAC(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || slices.Equal(mac, make(net.HardwareAddr, 6)) {
		return nil, fmt.Errorf("mac=%s: want a station's address such as 52:54:00:12:34:56", s)
	}
	return mac, nil
}
