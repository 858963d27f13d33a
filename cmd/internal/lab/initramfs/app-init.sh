#!/bin/busybox sh
# /init of the demo's app VM: an ordinary guest with a virtio-net device, led over its serial console.
#
# It obeys one command a line. Every answer is a line that begins with "@@ ", so that whoever reads the console can tell
# it from the kernel's messages and from the terminal's echo. Each command ends with "@@ NAME ok ..." or "@@ NAME failed ...".
#
#   lease                 get an address by DHCP            @@ lease ok ADDRESS/BITS ROUTER MILLISECONDS
#   address ADDRESS/BITS  take an address without DHCP      @@ address ok
#   ping COUNT HOST SIZE  ICMP echo, five a second, of SIZE @@ ping ok SENT RECEIVED MIN/AVG/MAX
#                         bytes (56 if not given)
#   fetch URL             download                          @@ fetch ok BYTES SHA256 MILLISECONDS
#   blob BYTES            put random bytes at /blob         @@ blob ok BYTES SHA256
#   stream HOST PORT BYTES  send BYTES by TCP, or, if that is @@ stream ok BYTES
#                         0, take what comes, with a program
#                         of that name that is in the image
#   device                what the network device says      @@ device ok MTU RXPACKETS RXBYTES RXDROPPED TXPACKETS TXDROPPED
#   carrier               whether it has a link             @@ carrier ok 0 or 1
#   features              what its driver has negotiated    @@ features ok BITS (bit 0 first)
#   rebind [SECONDS]      take the device from its driver   @@ rebind ok
#                         and give it back, SECONDS later
#                         if given; addresses go
#   pktgen COUNT SIZES    kernel packet generator: SIZES    @@ pktgen at COUNT (each second), @@ pktgen ok SENT MICROSECONDS ERRORS
#     STREAM RATE         are bytes, or "60,7;1514,1" of a
#     SECONDS VLAN        mix, STREAM a UDP port; RATE 0: as
#                         many as it can, VLAN 0: none
#   listen STREAM         count what such a generator sends @@ listen ok
#   heard                 end of that                       @@ heard ok JSON (without a space)
#   offloads              what ethtool -k says              @@ offloads ok NAME=on|off ... (NAME with dashes)
#   channels [N]          queue pairs: set if N is given,   @@ channels ok IN-USE MAXIMUM
#                         then tell (ethtool -L, -l)
#   ring [N]              entries of a receive ring, in the @@ ring ok IN-USE MAXIMUM
#                         same way (ethtool -G, -g)
#   spread COUNT HOST     ping from each processor at once  @@ spread ok PROCESSORS SENT RECEIVED
#   vlan ID ADDRESS/BITS  take an address in a VLAN         @@ vlan ok
#   background COMMAND    carry out ping, fetch or spread   @@ background ok
#                         while others are obeyed
#   join                  wait for its end                  its answer
#   off                   power off                         @@ off ok
#
# Its HTTP server also serves /endless, which is a gigabyte of zeros.
#
# At start it says "@@ ready MAC", or "@@ panic REASON" and powers off.

/bin/busybox --install -s /bin
export PATH=/bin

say() { echo "@@ $*"; }

# now prints the milliseconds since the kernel started (the kernel counts hundredths).
now() {
	read -r up _ < /proc/uptime
	whole=${up%.*}
	hundredths=${up#*.}
	echo $((whole * 1000 + ${hundredths#0} * 10))
}

die() {
	say panic "$*"
	poweroff -f
}

lease() {
	begin=$(now)
	rm -f /tmp/lease
	if udhcpc -i eth0 -n -q -f -t 30 -T 1 -s /etc/lease.sh > /tmp/udhcpc.log 2>&1 && [ -s /tmp/lease ]; then
		say lease ok "$(cat /tmp/lease)" $(($(now) - begin))
	else
		say lease failed "$(tr '\n' ' ' < /tmp/udhcpc.log)"
	fi
}

address() {
	if ip addr add "$1" dev eth0 2> /tmp/address.log; then
		say address ok
	else
		say address failed "$(cat /tmp/address.log)"
	fi
}

# replies prints how many echo replies the kernel has received so far.
replies() {
	names=
	while read -r kind fields; do
		if [ "$kind" = Icmp: ] && [ -z "$names" ]; then
			names=$fields
		elif [ "$kind" = Icmp: ]; then
			set -- $fields
			for name in $names; do
				[ "$name" = InEchoReps ] && echo "$1"
				shift
			done
		fi
	done < /proc/net/snmp
}

# patience is how many tenths of a second late answers are waited for.
patience=100

# late BEFORE SENT prints how many of SENT echo requests have been answered since there were BEFORE replies. Once ping has one
# answer it waits for the last ones for two round trips or a second only, which is too short on a busy machine; the kernel
# counts on, and is waited for.
late() {
	tries=0
	while got=$(($(replies) - $1)) && [ $got -lt "$2" ] && [ $tries -lt $patience ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	[ $got -lt "$2" ] || got=$2
	echo $got
}

ping_host() {
	before=$(replies)
	ping -q -c "$1" -i 0.2 -W 5 -s "${3:-56}" "$2" > /tmp/ping.log 2>&1
	counts=$(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) packets received.*/\1 \2/p' /tmp/ping.log)
	times=$(sed -n 's/^round-trip min.avg.max = \([^ ]*\) ms/\1/p' /tmp/ping.log)
	if [ -n "$counts" ]; then
		# In the background answers may get lost for good, and others may ping meanwhile.
		[ "${counts% *}" = "${counts#* }" ] || [ -n "$beside" ] || counts="${counts% *} $(late "$before" "${counts% *}")"
		say ping ok "$counts" "${times:--}"
	else
		say ping failed "$(tr '\n' ' ' < /tmp/ping.log)"
	fi
}

# Debian's busybox crashes when its wget is given a timeout, so whoever gave the command must watch the time.
fetch() {
	begin=$(now)
	if wget -q -O /tmp/fetched "$1" 2> /tmp/wget.log; then
		took=$(($(now) - begin))
		sum=$(sha256sum < /tmp/fetched)
		say fetch ok "$(wc -c < /tmp/fetched)" "${sum%% *}" "$took"
	else
		say fetch failed "$(tr '\n' ' ' < /tmp/wget.log)"
	fi
	rm -f /tmp/fetched
}

blob() {
	if head -c "$1" /dev/urandom > /srv/blob; then
		sum=$(sha256sum < /srv/blob)
		say blob ok "$(wc -c < /srv/blob)" "${sum%% *}"
	else
		say blob failed "cannot write /srv/blob"
	fi
}

stream() {
	if moved=$(/bin/stream "$@" 2> /tmp/stream.log); then
		say stream ok "$moved"
	else
		say stream failed "$(tr '\n' ' ' < /tmp/stream.log)"
	fi
}

device() {
	eth0=/sys/class/net/eth0
	say device ok "$(cat $eth0/mtu)" "$(cat $eth0/statistics/rx_packets)" "$(cat $eth0/statistics/rx_bytes)" "$(cat $eth0/statistics/rx_dropped)" \
		"$(cat $eth0/statistics/tx_packets)" "$(cat $eth0/statistics/tx_dropped)"
}

carrier() {
	say carrier ok "$(cat /sys/class/net/eth0/carrier)"
}

features() {
	say features ok "$(cat /sys/class/net/eth0/device/features)"
}

offloads() {
	if ethtool -k eth0 > /tmp/ethtool.log 2>&1; then
		say offloads ok "$(sed -n 's/^[[:space:]]*\([a-z0-9-]*\): \(on\|off\).*/\1=\2/p' /tmp/ethtool.log | tr '\n' ' ')"
	else
		say offloads failed "$(tr '\n' ' ' < /tmp/ethtool.log)"
	fi
}

# settings NAME SHOW SET LINE WHICH [N] sets what ethtool calls WHICH, if N is given, and prints LINE's values, of which the maximum
# comes first.
settings() {
	if [ -n "$6" ] && ! ethtool "$3" eth0 "$5" "$6" > /tmp/ethtool.log 2>&1; then
		say "$1" failed "$(tr '\n' ' ' < /tmp/ethtool.log)"
		return
	fi
	if ethtool "$2" eth0 > /tmp/ethtool.log 2>&1; then
		values=$(sed -n "s/^$4:[[:space:]]*//p" /tmp/ethtool.log | tr '\n' ' ')
		say "$1" ok "${values#* }" "${values%% *}"
	else
		say "$1" failed "$(tr '\n' ' ' < /tmp/ethtool.log)"
	fi
}

# The kernel sends from each processor by a queue of its own, as long as there are enough.
spread() {
	processors=$(nproc)
	before=$(replies)
	pids=
	for i in $(seq 0 $((processors - 1))); do
		taskset "$(printf %x $((1 << i)))" ping -q -c "$1" -i 0.1 -W 10 "$2" > "/tmp/spread.$i" 2>&1 &
		pids="$pids $!"
	done
	wait $pids
	sent=0
	received=0
	for i in $(seq 0 $((processors - 1))); do
		counts=$(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) packets received.*/\1 \2/p' "/tmp/spread.$i")
		if [ -z "$counts" ]; then
			say spread failed "$(tr '\n' ' ' < "/tmp/spread.$i")"
			return
		fi
		sent=$((sent + ${counts% *}))
		received=$((received + ${counts#* }))
	done
	[ "$sent" = "$received" ] || [ -n "$beside" ] || received=$(late "$before" "$sent")
	say spread ok "$processors" "$sent" "$received"
}

vlan() {
	if { { [ -e /proc/net/vlan ] || modprobe 8021q; } && ip link add link eth0 name "eth0.$1" type vlan id "$1" && ip addr add "$2" dev "eth0.$1" &&
		ip link set "eth0.$1" up; } 2> /tmp/vlan.log; then
		say vlan ok
	else
		say vlan failed "$(tr '\n' ' ' < /tmp/vlan.log)"
	fi
}

rebind() {
	device=$(readlink /sys/class/net/eth0/device)
	driver=/sys/bus/virtio/drivers/virtio_net
	if echo "${device##*/}" > $driver/unbind && sleep "${1:-0}" && echo "${device##*/}" > $driver/bind && ip link set eth0 up; then
		say rebind ok
	else
		say rebind failed "${device##*/}"
	fi
}

generators=/proc/net/pktgen

# renew_generator has the kernel's thread take eth0 anew. The kernel gives it 125 ms to let go of what it had, and it may take longer.
renew_generator() {
	echo "rem_device_all" > $generators/kpktgend_0
	tries=0
	until [ ! -e $generators/eth0 ] && echo "add_device eth0" 2> /dev/null > $generators/kpktgend_0; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		sleep 0.1
	done
}

# sent prints how many frames pktgen has sent so far.
sent() { sed -n 's/.*pkts-sofar: *\([0-9]*\).*/\1/p' $generators/eth0; }

# report says how far pktgen is as long as a process runs.
report() {
	while kill -0 "$1" 2> /dev/null; do
		sleep 1
		say pktgen at "$(sent)"
	done
}

# pktgen COUNT SIZES STREAM RATE SECONDS VLAN. It runs until COUNT frames are sent or, if that is 0, for SECONDS, in which no one
# takes its processor away to ask how far it is. How long it took is its own word: the shell notices the end late.
pktgen() {
	[ -e $generators ] || modprobe pktgen 2> /tmp/pktgen.log || { say pktgen failed "$(cat /tmp/pktgen.log)"; return; }
	renew_generator || { say pktgen failed "the kernel's thread does not give eth0 back"; return; }
	set -- "$1" "$(echo "$2" | tr ';' ' ')" "$3" "$4" "$5" "$6"
	size="pkt_size $2"
	case $2 in *,*) size="imix_weights $2" ;; esac
	speed="delay 0"
	[ "$4" = 0 ] || speed="ratep $4"
	tag="vlan_id 65535" # none
	[ "$6" = 0 ] || tag="vlan_id $6"
	for setting in "count $1" "$size" "clone_skb 0" "$speed" "burst 1" "dst 192.0.2.1" "src_min 192.0.2.2" "src_max 192.0.2.2" \
		"dst_mac 02:00:00:00:00:01" "udp_dst_min 9" "udp_dst_max 9" "udp_src_min $3" "udp_src_max $3" "$tag"; do
		echo "$setting" > $generators/eth0 || { say pktgen failed "setting $setting"; return; }
	done
	echo start > $generators/pgctrl &
	runner=$!
	if [ "$1" = 0 ]; then
		sleep "$5"
		echo stop > $generators/pgctrl
	else
		report $runner
	fi
	wait $runner
	result=$(sed -n 's/^Result: OK: \([0-9]*\)(.*usec, \([0-9]*\) .*/\2 \1/p' $generators/eth0)
	if [ -n "$result" ]; then
		say pktgen ok "$result" "$(sed -n '/^Result/,$s/.*errors: *\([0-9]*\).*/\1/p' $generators/eth0)"
	else
		say pktgen failed "$(sed -n 's/^Result: //p' $generators/eth0)"
	fi
}

listen() {
	rm -f /tmp/listening
	vvugen --interface eth0 --rx-only --json --stream "$1" > /tmp/heard 2> /tmp/listening &
	listener=$!
	tries=0
	until grep -q . /tmp/listening 2> /dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || break
		sleep 0.1
	done
	if grep -q '^listening' /tmp/listening; then
		say listen ok
	else
		say listen failed "$(tr '\n' ' ' < /tmp/listening)"
	fi
}

heard() {
	kill "$listener"
	if wait "$listener"; then
		say heard ok "$(cat /tmp/heard)"
	else
		say heard failed "$(tr '\n' ' ' < /tmp/listening)"
	fi
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2> /dev/null # the kernel may have done it
mount -t tmpfs -o size=80% tmpfs /tmp
ulimit -c 0
# What is built into the kernel cannot be loaded.
[ -e /sys/bus/pci/drivers/virtio-pci ] || modprobe virtio_pci || die "modprobe virtio_pci"
[ -e /sys/bus/virtio/drivers/virtio_net ] || modprobe virtio_net || die "modprobe virtio_net"
tries=0
until [ -e /sys/class/net/eth0 ]; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || die "no network device: virtio-net did not come up"
	sleep 0.1
done
ip link set lo up
ip link set eth0 up || die "ip link set eth0 up"
dd of=/srv/endless bs=1 count=0 seek=1G 2> /dev/null < /dev/zero
httpd -p 80 -h /srv || die "httpd"
say ready "$(cat /sys/class/net/eth0/address)"

obey() {
	case $1 in
	lease) lease ;;
	address) address "$2" ;;
	ping) ping_host "$2" "$3" "$4" ;;
	fetch) fetch "$2" ;;
	blob) blob "$2" ;;
	stream) stream "$2" "$3" "$4" ;;
	device) device ;;
	carrier) carrier ;;
	features) features ;;
	rebind) rebind "$2" ;;
	pktgen) pktgen "$2" "$3" "$4" "$5" "$6" "$7" ;;
	listen) listen "$2" ;;
	heard) heard ;;
	offloads) offloads ;;
	channels) settings channels -l -L Combined combined "$2" ;;
	ring) settings ring -g -G RX rx "$2" ;;
	spread) spread "$2" "$3" ;;
	vlan) vlan "$2" "$3" ;;
	background)
		shift
		beside=1 obey "$@" > /tmp/background 2>&1 &
		background=$!
		say background ok
		;;
	join)
		wait "$background"
		cat /tmp/background
		;;
	off) say off ok; poweroff -f ;;
	'') ;;
	*) say "$1" failed "no such command" ;;
	esac
}

set -f
while read -r line; do
	obey $line
done
die "console closed"
