#!/bin/busybox sh
# Run by udhcpc with the event as the argument and the lease in the environment.
case $1 in
deconfig)
	ip address flush dev "$interface"
	;;
bound | renew)
	ip address add "$ip/${mask:-24}" dev "$interface"
	for gateway in $router; do
		ip route replace default via "$gateway" dev "$interface"
		break
	done
	echo "$ip/${mask:-24} ${gateway:-}" > /run/lease
	;;
esac
