// Package capture writes frames that pass a port of vvufwd to a file in the pcapng format (draft-ietf-opsawg-pcapng), with
// their direction, the port's name, and how many were missed. The loop that forwards copies them into a bounded
// ring (netfwd.Capture); all else happens here, in a goroutine of its own. Pcapng is written by this package itself,
// because gopacket's writer knows no direction of a frame.
package capture
