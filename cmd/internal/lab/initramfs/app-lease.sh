#!/bin/busybox sh
# Run by udhcpc with the event as the argument and the lease in the environment. Leaves "ADDRESS/BITS ROUTER" in /tmp/lease.
case $1 in
deconfig)
	ip addr flush dev "$interface"
	;;
bound | renew)
	ip addr add "$ip/${mask:-24}" dev "$interface"
	for gateway in $router; do
		ip route replace default via "$gateway" dev "$interface"
		break
	done
	echo "$ip/${mask:-24} ${router:--}" > /tmp/lease
	;;
esac
