#!/bin/busybox sh
# /init of a driver VM whose NIC's physical function stays with the kernel: igb makes a virtual function of it, then vvufwd
# takes the place of this script, with its arguments.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2> /dev/null # the kernel may have done it
modprobe igb
for pf in /sys/bus/pci/drivers/igb/0000:*; do
	echo 1 > "$pf/sriov_numvfs"
	for interface in "$pf"/net/*; do
		ip link set "${interface##*/}" up
	done
done
umount /dev/pts 2> /dev/null
exec /vvufwd "$@"
