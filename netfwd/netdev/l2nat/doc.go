// Package l2nat lets several stations send through a card that sends frames with its own
// source address only: a Wi-Fi card in station mode. What they send leaves with the card's
// address, and what comes for that address is given back to the station whose IP address
// the packet is for. Bridges of virtual machine monitors, relayd and parprouted do much the same.
//
// It stands between a port and its wire (Wrap), so what it reads and changes is the copy of a frame that
// lies in the port's own memory: no guest can change that any more. Ports without
// it do not know of it.
//
// # Out, from stations
//
//   - IPv4 and IPv6: the source address. It learns that the packet's source is that station's.
//   - ARP and RARP: the hardware address of the sender, too. It learns the sender's IP address.
//   - Neighbour discovery (RFC 4861): link-layer address options too, with the ICMPv6 checksum. It learns the target that a station
//     advertises. Probes for duplicates pass and teach nothing.
//   - DHCPv4: requests ask for a broadcast answer (RFC 2131, 4.1), because a server would
//     send others to chaddr, for which an access point knows no station. chaddr, by which servers know
//     their clients, stays as it is; transactions are remembered. DHCPv6 needs nothing: it is told by addresses.
//   - Everything else is dropped as filtered, and first of all EAPOL (802.1X): the card's
//     keys are a matter of the card alone.
//
// # In, for the card
//
//   - Frames for groups go in as they are, to everyone. They may teach: a DHCPACK gives a station its address.
//   - Frames for the card: IPv4 and IPv6 by destination, ARP by target, which gets its
//     hardware address back, DHCPv4 answers by transaction. A packet for a group that was sent to the card
//     alone, as access points do with multicast_to_unicast, is one for a group again.
//   - What belongs to no station is the machine's own (EAPOL among it), and goes in to no one. It is counted as unmapped.
//   - What comes back of the card's own frames, or tells in an ARP packet or a neighbour
//     advertisement that someone is to be found at the card, as access points do that answer for their stations, is
//     dropped: stations reach one another without it, and would be misled.
//
// # Whose an address is
//
// The first station that uses an address has it for as long as it goes on sending from it,
// and for the table's age after that. Frames from it that come from another station
// are dropped as spoofed meanwhile. Then it belongs to whoever uses it next. A lease counts more than use: an address that
// a DHCP server gives a station becomes that one's, unless another has it by a lease. What is
// remembered is bounded, for each station and for all: what is beyond that is sent, but gets no answer.
// A station is a source address, so where stations cannot be trusted, something before
// must see to it that each uses its own (the addresses of a switch's ports).
package l2nat
