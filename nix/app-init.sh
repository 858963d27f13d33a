#!/bin/busybox sh
# /init of the app VM: it takes an address, says how far it got, and leaves a shell on its console. With the word "ping" on the
# kernel's command line it pings its gateway instead, and powers off.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2> /dev/null # the kernel may have done it

# What is built into the kernel cannot be loaded.
[ -e /sys/bus/pci/drivers/virtio-pci ] || modprobe virtio_pci
[ -e /sys/bus/virtio/drivers/virtio_net ] || modprobe virtio_net
tries=0
until [ -e /sys/class/net/eth0 ] || [ $tries -ge 100 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
ip link set lo up
ip link set eth0 up || echo "app VM: no network device"

if udhcpc -i eth0 -n -q -f -t 30 -T 1 -s /etc/lease.sh; then
	read -r address gateway others < /tmp/lease # see the script; "-" if there is no gateway
	echo "app VM: address $address, gateway $gateway"
else
	echo "app VM: no one leases an address: ip address add ADDRESS/BITS dev eth0"
fi

case " $(cat /proc/cmdline) " in
*" ping "*)
	if [ "${gateway:--}" != - ] && ping -c 5 "$gateway"; then
		echo "app VM: the gateway answers"
	fi
	;;
*)
	echo "app VM: a shell; \"exit\" powers off"
	setsid cttyhack sh
	;;
esac
poweroff -f
