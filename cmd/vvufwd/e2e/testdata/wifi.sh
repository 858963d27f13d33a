#!/bin/busybox sh
# /init of a machine with two Wi-Fi cards that hear each other (mac80211_hwsim). One is an access point with a DHCP
# and a web server, in a network namespace of its own. The other is a station, to which two guests send through vvufwd; each of
# them has a namespace and a real stack. What is said with "@@" is for the test: each step, what failed, and at the end all is well.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2> /dev/null # the kernel may have done it

chmod +x /etc/lease.sh

say() { echo "@@ $(cut -d ' ' -f 1 /proc/uptime) $*"; }

fail() {
	say failed "$*"
	for log in /tmp/*.log; do
		echo "== $log"
		tail -n 20 "$log"
	done
	poweroff -f
	sleep 1000
}

# try WHAT COMMAND...: it must succeed.
try() {
	what=$1
	shift
	"$@" > /tmp/last.log 2>&1 || fail "$what: $(tr '\n' ' ' < /tmp/last.log)"
}

# await WHAT COMMAND...: it succeeds some time.
await() {
	what=$1
	shift
	n=0
	until "$@" > /tmp/last.log 2>&1; do
		n=$((n + 1))
		[ $n -lt 900 ] || fail "$what: $(tr '\n' ' ' < /tmp/last.log)"
		sleep 0.1
	done
}

# namespace NAME: makes one. at NAME COMMAND... is a command there.
namespace() {
	unshare -n sleep 100000 &
	eval "$1=$!"
	await "a namespace for $1" other $!
	at "$1" ip link set lo up
}
other() { [ "$(readlink /proc/$1/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
at() {
	eval "pid=\$$1"
	shift
	nsenter -t "$pid" -n "$@"
}

for module in mac80211_hwsim ccm ctr veth; do
	modprobe $module || fail "load $module"
done
namespace ap
namespace a
namespace b
try "give the access point its card" iw phy phy0 set netns $ap

say the access point
at ap ip link set wlan0 up
at ap ip addr add 10.9.0.1/24 dev wlan0
at ap ip -6 addr add fd09::1/64 dev wlan0
start_ap() { at ap hostapd -B -f /tmp/hostapd.log /etc/hostapd.conf; }
try hostapd start_ap
mkdir -p /srv
touch /tmp/leases
# It looks for two seconds whether someone has an address before it offers that, and takes no other message meanwhile.
at ap udhcpd -f -a 100 /etc/udhcpd.conf > /tmp/udhcpd.log 2>&1 &
head -c 3000000 /dev/urandom > /srv/blob
sum=$(sha256sum < /srv/blob)
for who in ap a b; do
	at $who httpd -p 80 -h /srv
done

say the station
# A switched network has no use for what the kernel says by itself here.
echo 1 > /proc/sys/net/ipv6/conf/wlan1/disable_ipv6
card=$(cat /sys/class/net/wlan1/address)
try wpa_supplicant wpa_supplicant -B -D nl80211 -i wlan1 -c /etc/wpa.conf -f /tmp/wpa.log
joined() { iw dev wlan1 link | grep -q "^Connected" && [ "$(cat /sys/class/net/wlan1/operstate)" = up ]; }
await "joining the network" joined

say vvufwd
number=0
for guest in a b; do
	number=$((number + 1))
	ip link add p$guest type veth # the other end is veth0
	ip link set veth0 address 52:54:00:00:00:0$number
	eval "pid=\$$guest"
	ip link set veth0 netns $pid
	at $guest ip link set veth0 name eth0
	echo 1 > /proc/sys/net/ipv6/conf/p$guest/disable_ipv6
	ip link set p$guest up
	at $guest ip link set eth0 up
	at $guest ip -6 addr add fd09::1$number/64 dev eth0
done
/vvufwd --port packet:pa --port packet:wlan1 2> /tmp/plain.log &
plain=$!
await "a warning" grep -q "station mode sends only frames with its own address: add ,l2nat.*wlan1" /tmp/plain.log
kill $plain
wait $plain
/vvufwd --switch --port packet:pa,mac=52:54:00:00:00:01 --port packet:pb,mac=52:54:00:00:00:02 --port packet:wlan1,l2nat --stats-json \
	> /tmp/stats.log 2> /tmp/vvufwd.log &
vvufwd=$!
await "vvufwd forwards" grep -q "forwarding in a switch" /tmp/vvufwd.log

say leases
lease() { at $1 udhcpc -i eth0 -n -q -f -t 20 -T 3 -s /etc/lease.sh; }
lease b > /tmp/lease-b.log 2>&1 &
leasing=$!
try "a lease for a" lease a
wait $leasing || fail "a lease for b"
for guest in a b; do
	address=$(at $guest ip -4 addr show dev eth0 | sed -n 's/.*inet \([0-9.]*\).*/\1/p')
	eval "ip_$guest=$address"
done
[ "$ip_a" != "$ip_b" ] || fail "both have the address $ip_a"

say pings
pings() { at $1 ping -q -c 3 -i 0.2 -W 5 $2 | grep -q " 0% packet loss"; }
pings6() { at $1 ping6 -q -c 3 -i 0.2 -W 5 $2 | grep -q " 0% packet loss"; }
for way in "a 10.9.0.1" "b 10.9.0.1" "ap $ip_a" "ap $ip_b" "a $ip_b"; do
	await "pings, $way" pings $way
done
for way in "a fd09::1" "b fd09::1" "ap fd09::11" "ap fd09::12" "b fd09::11"; do
	await "pings, $way" pings6 $way
done
# The access point knows of one station, and finds both guests there.
[ "$(at ap iw dev wlan0 station dump | grep "^Station")" = "Station $card (on wlan0)" ] || fail "stations: $(at ap iw dev wlan0 station dump | grep "^Station")"
[ "$(at ap ip neigh | grep -c "lladdr $card")" -ge 4 ] || fail "neighbours: $(at ap ip neigh)"
[ "$(at a ip neigh show $ip_b | grep -c "lladdr 52:54:00:00:00:02")" = 1 ] || fail "neighbours of a: $(at a ip neigh)"

say transfers
fetch() { [ "$(at $1 wget -q -O - http://$2/blob | sha256sum)" = "$sum" ]; }
for way in "a 10.9.0.1" "b [fd09::1]" "ap $ip_b" "ap [fd09::11]"; do
	try "transfer, $way" fetch $way
done

say an address that is another one\'s
at b ip addr add $ip_a/32 dev eth0
at b arping -q -U -c 1 -I eth0 -s $ip_a $ip_a
at b arping -q -A -c 1 -I eth0 -s $ip_a $ip_a
at b ping -q -c 3 -i 0.2 -W 1 -I $ip_a 10.9.0.1 > /dev/null
at b ip addr del $ip_a/32 dev eth0
await "a after an attack" pings a 10.9.0.1
await "to a after an attack" pings ap $ip_a

say the access point leaves and comes back
killall hostapd
left() { ! joined; }
await "leaving the network" left
# For a moment the kernel still has the frames that the one before wanted ("Match already configured").
await "hostapd again" start_ap
await "joining the network again" joined
for way in "a 10.9.0.1" "ap $ip_b"; do
	await "pings after that, $way" pings $way
done

kill $vvufwd
wait $vvufwd || fail "vvufwd ended with $?"
say statistics "$(tail -n 1 /tmp/stats.log)"
grep -E "WARN|ERROR" /tmp/vvufwd.log
say all is well
poweroff -f
sleep 1000
